"""Pose maps: one renderer and a table of styles."""
