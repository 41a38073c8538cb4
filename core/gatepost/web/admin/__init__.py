"""The operations that commands on the same machine can ask of a running gateway, over a Unix socket."""
