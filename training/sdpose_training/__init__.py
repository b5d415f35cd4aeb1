"""The code behind the training and evaluation scripts."""
