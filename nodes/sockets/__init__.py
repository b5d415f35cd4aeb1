"""Converts the values on ComfyUI's wires to the types of the library, and back."""
