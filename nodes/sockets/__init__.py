"""Values on ComfyUI's wires to values of the library, and back."""
