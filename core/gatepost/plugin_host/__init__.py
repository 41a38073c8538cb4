"""What stands between the gateway and a plugin: it is found, built, watched, and its answers are checked."""
