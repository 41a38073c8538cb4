"""Emulated providers.

``AcmeEmulator`` is of an aggregator that does not exist; its ``table`` describes it whole. The others are each made from the
vendor's own documentation, for the tables in the guide to this plugin.

::

    async with InfobipEmulator() as infobip:
        ...  # base_url = infobip.base_url, and for each env:NAME of the table infobip.environment["NAME"]
"""

from gatepost_http.testing.acme import AcmeEmulator
from gatepost_http.testing.brevo import BrevoEmulator
from gatepost_http.testing.elks import ElksEmulator
from gatepost_http.testing.infobip import InfobipEmulator
from gatepost_http.testing.sinch import SinchEmulator

__all__ = ["AcmeEmulator", "BrevoEmulator", "ElksEmulator", "InfobipEmulator", "SinchEmulator"]
