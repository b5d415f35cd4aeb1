"""Training recipes: TOML and command-line overrides to checked settings."""
