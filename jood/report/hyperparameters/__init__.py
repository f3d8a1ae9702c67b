"""Curves of metrics against a hyper-parameter: table, pictures, their page."""
