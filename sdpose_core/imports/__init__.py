"""Annotations of other tools read back as pose sequences: COCO and CVAT."""
