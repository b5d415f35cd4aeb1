"""How fast SDPose runs here, beside the released code and ComfyUI's own nodes."""
