"""An emulator for infobip."""
