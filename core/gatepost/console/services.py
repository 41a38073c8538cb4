"""What the pages work with."""

import msgspec

from gatepost.console.access import Access
from gatepost.console.batches import BatchChanges
from gatepost.console.login_throttle import LoginThrottle
from gatepost.console.passwords import PasswordCheck
from gatepost.console.recent import RecentValues
from gatepost.outbox.reader import Reader
from gatepost.web.admin.services import AdminServices

SERVICES_KEY = "console"
"""The key of the application's state under which its ConsoleServices are stored."""


class ConsoleServices(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the pages call."""

    admin: AdminServices
    """The parts of the running gateway."""
    reader: Reader
    access: Access
    passwords: PasswordCheck
    throttle: LoginThrottle
    recent: RecentValues
    """What several tabs see for a few seconds."""
    batches: BatchChanges
