"""What a user who is limited to some clients sees of the status: of the gateway, of the store, and of the problems."""

from collections.abc import Iterable

import msgspec

from gatepost.config.routes import Routes
from gatepost.config.settings import Settings
from gatepost.console.own_parts import may_change, own_parts, stopped_clients
from gatepost.outbox.console_users import ConsoleUser
from gatepost.outbox.overview import CallbackOverview, Overview
from gatepost.outbox.pauses import Pause, Scope
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.configured_limits import configured_limits
from gatepost.upkeep.problems import Kind, Known, Problem, find_problems
from gatepost.upkeep.status import GatewayStatus
from gatepost.upkeep.warmups import configured_warmups


def own_gateway(settings: Settings, user: ConsoleUser, gateway: GatewayStatus) -> GatewayStatus:
    """Return the status with only the plugins, contact sources and hosts of the user's clients."""
    own = own_parts(settings, user)
    return msgspec.structs.replace(
        gateway,
        plugins=[one for one in gateway.plugins if not user.clients or one.instance in own.instances],
        sources=[one for one in gateway.sources if one.instance in own.sources],
        resting_targets=[one for one in gateway.resting_targets if user.may_see(one.client)],
    )


def own_store(settings: Settings, user: ConsoleUser, store: Overview) -> Overview:
    """Return the overview with only what belongs to the user's clients.

    The age of the oldest callback is not known by client.
    """
    if not user.clients:
        return store
    routes = own_parts(settings, user).routes
    targets = [one for one in store.callbacks.targets if user.may_see(one.client)]
    callbacks = CallbackOverview(
        waiting=sum(one.waiting for one in targets),
        age=0.0,
        dead=sum(one.dead for one in targets),
        targets=targets,
    )
    return msgspec.structs.replace(
        store,
        waiting=[one for one in store.waiting if user.may_see(one.client)],
        callbacks=callbacks,
        shares=[one for one in store.shares if one.route in routes],
        pauses=own_pauses(settings, user, store.pauses),
        limits=[one for one in store.limits if one.setting in _own_limits(settings, user)],
        warmups=own_warmups(settings, user, store.warmups),
    )


def _own_limits(settings: Settings, user: ConsoleUser) -> Iterable[str]:
    """Return the keys of the limits that count only messages of the user's clients; those of routes count all."""
    clients = {name: client for name, client in settings.clients.items() if user.may_see(name)}
    return configured_limits(msgspec.structs.replace(settings, clients=clients, routes=Routes()))


def own_warmups(settings: Settings, user: ConsoleUser, warmups: Iterable[WarmupView]) -> list[WarmupView]:
    """Return the warm-ups of the plugins that send for no client but the user's."""
    return [
        one
        for one in configured_warmups(settings, warmups)
        if may_change(settings, user, Scope(plugin=one.instance))
    ]


def own_pauses(settings: Settings, user: ConsoleUser, pauses: Iterable[Pause]) -> list[Pause]:
    """Return the pauses that stop messages of the user's clients."""
    return [
        one
        for one in pauses
        if not user.clients or any(map(user.may_see, stopped_clients(settings, one.scope)))
    ]


def own_problems(user: ConsoleUser, known: Known) -> list[Problem]:
    """Return the problems of what ``known`` holds, which is what the user sees."""
    routes = own_parts(known.settings, user).routes
    return [
        one
        for one in find_problems(known)
        if not user.clients or one.kind != Kind.ROUTE_BLOCKED.name.lower() or one.subject in routes
    ]


def own_rates(settings: Settings, user: ConsoleUser, gateway: GatewayStatus) -> dict[str, float]:
    """Return the messages a minute of the plugins that send for no client but the user's."""
    return {
        one.instance: one.per_minute
        for one in gateway.plugins
        if may_change(settings, user, Scope(plugin=one.instance))
    }
