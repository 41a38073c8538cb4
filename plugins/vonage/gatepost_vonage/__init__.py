"""Text messages through Vonage's Messages API.

``plugin`` is the hooks; ``settings`` and ``addressing`` judge what the operator and Smartico say before
Vonage is asked; ``compose`` builds a request out of the SDK's own models, with ``gsm7`` choosing its
encoding; ``tokens`` keeps the SDK's token; ``reports`` verifies and translates status webhooks; ``problems``
reads the codes of Vonage's error objects.
"""

from gatepost_vonage.plugin import Vonage

__all__ = ["Vonage"]
