"""Predictions, official scoring, and reports."""
