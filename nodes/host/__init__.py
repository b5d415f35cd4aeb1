"""What the nodes need of ComfyUI: folders, progress, previews and the model manager."""
