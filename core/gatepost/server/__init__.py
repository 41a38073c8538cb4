"""The process and its connections: from a listening socket to the ASGI application."""
