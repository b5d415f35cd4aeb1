"""A pose sequence fitted to a character."""
