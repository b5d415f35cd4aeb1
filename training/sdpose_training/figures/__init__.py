"""The figures of the paper, of any pictures and estimators."""
