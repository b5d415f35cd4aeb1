"""Pose sequences in the formats of other tools: one file per tool."""
