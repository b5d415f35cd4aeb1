"""Pose estimators of other projects."""
