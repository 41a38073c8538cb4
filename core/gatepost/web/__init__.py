"""The HTTP routes, who may use them, and what an operator does over them."""
