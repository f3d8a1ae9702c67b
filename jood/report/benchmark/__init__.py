"""The results of a benchmark: tables, pictures, their page."""
