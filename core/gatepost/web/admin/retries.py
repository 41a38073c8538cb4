"""The operations that repeat sends and callbacks."""

from collections.abc import Sequence

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox import CallbackRetry, MessageRetry, Outbox, RetryOrder
from gatepost.web.admin.requests import RetryRequest
from gatepost.web.admin.services import AdminServices

_log = logs.get(__name__)


async def retry(
    settings: Settings, outbox: Outbox, request: RetryRequest, actor: str
) -> Sequence[MessageRetry]:
    """Queue failed and held messages again."""
    lifetimes = {channel: settings.delivery.lifetime(channel) for channel in Channel}
    results = await outbox.retry(RetryOrder(request.ids, actor, lifetimes))
    _log.info("messages_retried", messages=sum(one.queued for one in results))
    return results


async def tell(
    _settings: Settings, outbox: Outbox, request: RetryRequest, actor: str
) -> Sequence[CallbackRetry]:
    """Queue the failed callbacks of messages now."""
    results = await outbox.tell(RetryOrder(request.ids, actor))
    _log.info("callbacks_retried", callbacks=sum(one.callbacks for one in results))
    return results


async def tell_now(services: AdminServices, request: RetryRequest, actor: str) -> Sequence[CallbackRetry]:
    """Queue the failed callbacks of messages now, and end the rests of their hosts in this gateway."""
    results = await tell(services.settings, services.outbox, request, actor)
    services.callbacks.end_rests({(one.client, one.target) for one in results if one.callbacks})
    return results
