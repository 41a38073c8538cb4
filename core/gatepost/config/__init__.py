"""The configuration: gatepost.toml and the environment, read into frozen settings."""
