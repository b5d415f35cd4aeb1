"""Comparison of estimators by what ControlNet and animation tools make of their poses."""
