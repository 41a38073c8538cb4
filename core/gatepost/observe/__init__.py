"""Logs and metrics, and the redaction that keeps private values out of both."""
