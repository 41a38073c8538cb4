"""An emulator for twilio."""
