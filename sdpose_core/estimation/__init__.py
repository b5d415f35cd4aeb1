"""Estimators: pictures and boxes in, poses out."""
