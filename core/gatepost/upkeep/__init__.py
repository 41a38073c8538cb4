"""What runs beside the messages: the health of the gateway, and what is erased when its time is over."""
