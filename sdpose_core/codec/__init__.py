"""Box to crop to heatmaps to keypoints, and back."""
