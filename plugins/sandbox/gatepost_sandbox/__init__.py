"""A provider without an account: writes each message into a folder, and reports back like a real one."""

from gatepost_sandbox.plugin import Sandbox, SandboxSettings

__all__ = ["Sandbox", "SandboxSettings"]
