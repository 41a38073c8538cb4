"""The operations that cancel messages."""

from collections.abc import Sequence

from gatepost.config.settings import Settings
from gatepost.observe import logs
from gatepost.outbox import Outbox, cancellations
from gatepost.outbox.cancellations import CancelIds, CancelStep, MessageCancellation, Progress
from gatepost.web.admin.requests import CancelIdsRequest, CancelRequest
from gatepost.web.admin.services import OperationRefused

_log = logs.get(__name__)


async def cancel(_settings: Settings, outbox: Outbox, request: CancelRequest, actor: str) -> Progress:
    """Cancel some of the messages that the filter means. Raises OperationRefused.

    It is the command that goes on with the next step. So nothing goes on when the command is interrupted.
    """
    if request.wanted.is_empty:
        raise OperationRefused("a filter that means every message is refused")
    step = CancelStep(request.wanted, actor, request.reason, request.progress)
    progress = await outbox.cancel(cancellations.cancel, step)
    if progress.done:
        _log.info("messages_cancelled", messages=progress.found)
    return progress


async def cancel_ids(
    _settings: Settings, outbox: Outbox, request: CancelIdsRequest, actor: str
) -> Sequence[MessageCancellation]:
    """Cancel these messages."""
    order = CancelIds(request.ids, actor, request.reason)
    results = await outbox.cancel(cancellations.cancel_by_ids, order)
    _log.info("messages_cancelled", messages=sum(one.cancelled for one in results))
    return results
