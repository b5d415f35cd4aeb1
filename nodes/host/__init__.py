"""What the nodes need from ComfyUI: folders, progress, previews and model management."""
