"""An emulator for sinch."""
