"""Gatepost's plugin for SMS, Viber and WhatsApp through Infobip."""
