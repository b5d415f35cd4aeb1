"""Parts of `benchmarks/distrust.py`: estimates and truth, the fit, the figures."""
