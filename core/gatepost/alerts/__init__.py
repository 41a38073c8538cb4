"""Alerts without Prometheus: what begins and what is over, told to the people on call."""
