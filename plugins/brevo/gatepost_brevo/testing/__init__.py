"""An emulator for brevo."""
