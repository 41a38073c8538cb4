"""The demo: a real gateway on this machine, between a stand-in for Smartico and an emulated provider."""
