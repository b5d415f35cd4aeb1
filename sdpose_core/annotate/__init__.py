"""Annotating pictures and clips: files or frames in, poses and pose maps out."""
