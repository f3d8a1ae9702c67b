"""Detectors on a benchmark: scores, checks before the run, selection, curves."""
