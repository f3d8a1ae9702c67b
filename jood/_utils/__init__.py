"""Helpers that know nothing of OOD detection."""
