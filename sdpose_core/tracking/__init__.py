"""Stable track ids from frame to frame."""
