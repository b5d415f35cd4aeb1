"""Lists of runs that differ in one thing, trained and tabulated."""
