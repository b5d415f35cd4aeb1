"""Synthetic people with exact keypoints."""
