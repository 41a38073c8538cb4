"""The whole way on one machine, without any account: a real gateway between two stand-ins."""
