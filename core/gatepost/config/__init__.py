"""From gatepost.toml to settings."""
