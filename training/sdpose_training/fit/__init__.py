"""One training run: setup, loop, state, log and weights."""
