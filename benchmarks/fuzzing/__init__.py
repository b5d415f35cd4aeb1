"""Mutated inputs of all kinds for the commands, see `fuzz_inputs.py`."""
