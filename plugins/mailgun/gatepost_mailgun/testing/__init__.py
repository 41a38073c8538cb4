"""An emulator for mailgun."""
