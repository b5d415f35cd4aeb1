"""What ControlNet and animation tools make of several estimators' poses."""
