"""Person detectors and box files: pictures in, boxes out."""
