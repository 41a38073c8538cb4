"""The console: pages on which operators see what happens, and steer it."""
