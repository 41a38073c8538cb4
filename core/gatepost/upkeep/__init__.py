"""The readiness of the gateway, the depth of its queues, and the upkeep of its store."""
