"""The operations that need nothing but the store and the settings.

Where no gateway runs, a command runs them itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from gatepost.config.settings import Settings
from gatepost.outbox import CallbackRetry, MessageRetry, Outbox
from gatepost.outbox.cancellations import MessageCancellation, Progress
from gatepost.outbox.forget import Forgetting
from gatepost.outbox.pauses import Pause
from gatepost.web.admin import (
    cancellations,
    console_users,
    pauses,
    requests,
    retries,
    suppressions,
    users,
)


class StoreOperation(NamedTuple):
    """One operation: its request, and the function that is called with it and with the actor."""

    request_type: type[requests.Request]
    answer_type: Any
    run: Callable[[Settings, Outbox, Any, str], Awaitable[object]]
    """May raise OperationRefused and StoreError."""


STORE_OPERATIONS: Mapping[str, StoreOperation] = {
    "retry": StoreOperation(requests.RetryRequest, list[MessageRetry], retries.retry),
    "tell": StoreOperation(requests.RetryRequest, list[CallbackRetry], retries.tell),
    "suppress-add": StoreOperation(requests.SuppressRequest, None, suppressions.suppress),
    "suppress-remove": StoreOperation(requests.UnsuppressRequest, bool, suppressions.unsuppress),
    "console-user-put": StoreOperation(requests.ConsoleUserRequest, bool, console_users.put),
    "console-user-remove": StoreOperation(requests.RemoveConsoleUserRequest, bool, console_users.remove),
    "pause": StoreOperation(requests.PauseRequest, Pause, pauses.pause),
    "resume": StoreOperation(requests.ResumeRequest, list[Pause], pauses.resume),
    "cancel": StoreOperation(requests.CancelRequest, Progress, cancellations.cancel),
    "cancel-ids": StoreOperation(
        requests.CancelIdsRequest, list[MessageCancellation], cancellations.cancel_ids
    ),
    "forget": StoreOperation(requests.ForgetRequest, Forgetting, users.forget),
    "export": StoreOperation(requests.ExportRequest, None, users.record_export),
    "reveal": StoreOperation(requests.RevealRequest, None, users.record_reveal),
}
"""These operations by their names."""
