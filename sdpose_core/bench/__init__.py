"""Measures SDPose against the released code and ComfyUI's own node."""
