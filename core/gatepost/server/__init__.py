"""The server process: it listens, limits connections and hands requests to the ASGI application."""
