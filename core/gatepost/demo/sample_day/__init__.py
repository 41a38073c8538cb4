"""A day of made-up traffic, written through the outbox with a clock that runs ahead: for `gatepost demo --console`."""
