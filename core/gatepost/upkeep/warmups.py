"""What is known of the instances that warm up, and which messages wait because their caps are used."""

import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

from gatepost.config.settings import Settings
from gatepost.model import Channel
from gatepost.outbox.overview import Overview
from gatepost.outbox.warmups import WarmupView
from gatepost.throttle import BreakerState
from gatepost.upkeep.status import GatewayStatus


class FullWarmup(NamedTuple):
    """An instance whose cap is used, while messages wait for it."""

    warmup: WarmupView
    messages: int
    routes: Collection[str]
    """The routes on which no other instance can send now."""


def configured_warmups(settings: Settings, found: Iterable[WarmupView]) -> list[WarmupView]:
    """Return the warm-ups of instances that have one in the configuration.

    A command may not be able to read the table of a plugin: then it counts as configured if it is on a route.
    """
    routed = {name for channel in Channel for name in settings.routes.instances(channel)}
    return [
        one
        for one in found
        if one.instance in routed
        and (one.instance not in settings.plugins or settings.plugins[one.instance].warmup)
    ]


def full_warmups(settings: Settings, store: Overview, gateway: GatewayStatus | None) -> list[FullWarmup]:
    """Return the full instances for which messages wait: where each other one of a route is full too, or rests."""
    resting = (
        {one.instance for one in gateway.plugins if one.state == BreakerState.RESTING} if gateway else ()
    )
    full = {
        one.instance: one for one in configured_warmups(settings, store.warmups) if one.is_full(store.read_at)
    }
    found: dict[str, FullWarmup] = {}
    for channel in Channel if full else ():
        for route in settings.routes.of(channel):
            # One with the weight 0 gets no messages.
            names = [name for name in route.instances if route.split.get(name, 1.0)]
            blocking = [name for name in names if name in full]
            count = sum(
                one.messages - one.held
                for one in store.waiting
                if (one.channel, one.route) == (channel, route.name) and one.overdue and not one.paused
            )
            if count and blocking and all(name in full or name in resting for name in names):
                name = blocking[0]
                before = found.get(name) or FullWarmup(full[name], 0, ())
                found[name] = FullWarmup(full[name], before.messages + count, {*before.routes, route.name})
    return list(found.values())


def clock_time(at: float) -> str:
    """Return a moment, in seconds since the epoch, as the time of its day."""
    return time.strftime("%H:%M UTC", time.gmtime(at))
