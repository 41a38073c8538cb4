"""What runs beside the messages: the readiness of the gateway, and the upkeep of its store."""
