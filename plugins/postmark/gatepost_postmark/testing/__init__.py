"""An emulator for postmark."""
