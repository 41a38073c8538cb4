"""Plugins: found, built, opened, called with a deadline, and checked in what they return."""
