"""COCO-style data sets to training samples."""
