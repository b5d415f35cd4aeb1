"""Why a point of a pose sequence may be wrong: signals, and the table that turns them into a probability."""
