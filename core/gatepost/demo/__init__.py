"""The demo: a real gateway on this machine, between a stand-in for Smartico and a provider without an account."""
