"""A small encoder, taught to replace the VAE's in front of a frozen SDPose."""
