"""The small pretrained models that travel with the package: they find people, and give poses before SDPose is there."""
