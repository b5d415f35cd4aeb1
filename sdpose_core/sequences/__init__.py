"""Keypoints over time: cleaning, interpolation and choosing people."""
