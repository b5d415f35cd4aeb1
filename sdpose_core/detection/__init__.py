"""Person detectors and box files."""
