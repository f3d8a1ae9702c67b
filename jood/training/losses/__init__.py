"""Objectives; one file each."""
