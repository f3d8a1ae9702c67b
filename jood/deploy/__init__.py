"""A detector in front of traffic: the jobs that fit it and that score files."""
