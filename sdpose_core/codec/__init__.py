"""Boxes to crops, heatmaps to keypoints, and back."""
