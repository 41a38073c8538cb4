"""For authors of plugins: conformance suites, emulated providers and a stand-in for Smartico."""
