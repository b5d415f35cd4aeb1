"""Many videos: inputs, shards, processes side by side, and the manifest."""
