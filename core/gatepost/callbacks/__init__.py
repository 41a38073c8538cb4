"""Callbacks: recorded statuses are sent to Smartico's callback URLs."""
