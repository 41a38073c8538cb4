"""Tools for the tests of plugins: conformance suites, the base of emulators, and a stand-in for Smartico."""
