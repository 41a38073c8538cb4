"""The operations that need nothing but the store and the settings.

Where no gateway runs, a command runs them itself.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gatepost.config.settings import Settings
from gatepost.outbox import Outbox
from gatepost.outbox.cancellations import MessageCancellation, Progress
from gatepost.outbox.pauses import Pause
from gatepost.web.admin import cancellations, pauses
from gatepost.web.admin.requests import Request


class StoreOperation(NamedTuple):
    """One operation: its request, and the function that is called with it and with the actor."""

    request_type: type[Request]
    answer_type: Any
    run: Callable[[Settings, Outbox, Any, str], Awaitable[object]]
    """May raise OperationRefused and StoreError."""


STORE_OPERATIONS: Mapping[str, StoreOperation] = {
    "pause": StoreOperation(pauses.PauseRequest, Pause, pauses.pause),
    "resume": StoreOperation(pauses.ResumeRequest, Sequence[Pause], pauses.resume),
    "cancel": StoreOperation(cancellations.CancelRequest, Progress, cancellations.cancel),
    "cancel-ids": StoreOperation(
        cancellations.CancelIdsRequest, Sequence[MessageCancellation], cancellations.cancel_ids
    ),
}
"""These operations by their names."""
