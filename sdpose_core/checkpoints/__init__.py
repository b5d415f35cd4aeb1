"""Weights: layouts, reading, writing, downloads and ONNX export."""
