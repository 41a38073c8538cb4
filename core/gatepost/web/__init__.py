"""The HTTP routes, the authentication of clients, and the operations for commands on the same machine."""
