"""OpenPose JSON, the interchange format: order of points, reader and writer."""
