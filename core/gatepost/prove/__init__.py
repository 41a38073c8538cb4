"""The proof: canaries go through a copy of an operator's configuration, and everything it leaves behind is searched."""
