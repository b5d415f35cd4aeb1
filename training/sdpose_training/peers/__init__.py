"""Other pose estimators over the same boxes."""
