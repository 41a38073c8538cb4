"""From a committed message to a provider's answer."""
