"""An emulator for ses."""
