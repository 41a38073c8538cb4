"""The HTTP routes, the authentication of clients, and the API for commands on the same machine."""
