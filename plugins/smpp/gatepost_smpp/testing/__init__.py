"""An emulator for smpp."""
