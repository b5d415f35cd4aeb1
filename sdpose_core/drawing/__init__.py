"""Poses to pose maps: one table-driven renderer."""
