"""What ``gatepost init`` does: it collects the answers, and writes the configuration and its secrets."""
