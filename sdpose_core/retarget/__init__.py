"""Fitting a pose sequence to a character."""
