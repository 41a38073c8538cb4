"""The operation that shows what the running gateway knows of itself."""

import asyncio
from collections.abc import Mapping

from gatepost import __version__
from gatepost.config import certificate
from gatepost.config.routes import Routes
from gatepost.model import Channel
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.freshness import freshness
from gatepost.upkeep.status import GatewayStatus, InstanceStatus, SourceStatus, TargetStatus
from gatepost.web.admin.requests import StatusRequest
from gatepost.web.admin.services import AdminServices


async def status(services: AdminServices, _request: StatusRequest, _actor: str) -> GatewayStatus:
    """Return the status of this gateway. It reads nothing from the store, which may be what is broken."""
    now = asyncio.get_running_loop().time()
    path = services.settings.server.certificate
    return GatewayStatus(
        version=__version__,
        uptime=services.heartbeat.uptime,
        lag=services.heartbeat.max_lag,
        store_fails=services.outbox.is_failing,
        missing_keys=services.outbox.missing_keys.counts(services.outbox.policy.content_keys.ids),
        # In a thread, because the file may be on a slow network disk.
        certificate_ends_at=await asyncio.to_thread(certificate.ends_at, path) if path else None,
        plugins=[
            _instance_status(name, throttle, now, services.settings.routes)
            for name, throttle in services.throttles.items()
        ],
        sources=[
            _source_status(one, services.settings.contacts.stale_after)
            for one in services.instances.values()
            if one.is_source and one.name in _used_sources(services)
        ],
        resting_targets=[
            TargetStatus(client=client, **target._asdict())
            for client, target in services.callbacks.resting_targets()
        ],
    )


def _used_sources(services: AdminServices) -> set[str]:
    settings = services.settings
    return {name for client in settings.clients for name in settings.contact_sources(client)}


def _instance_status(name: str, throttle: Throttle, now: float, routes: Routes) -> InstanceStatus:
    one, activity = throttle.snapshot(now), throttle.activity(now)
    return InstanceStatus(
        instance=name,
        state=one.state.value,
        seconds=one.rest_remaining,
        failing_for=activity.failing_for,
        misconfigured=one.misconfigured,
        reason=one.reason,
        since_success=activity.since_success,
        per_minute=activity.per_minute,
        shares=_shares(name, routes),
    )


def _shares(name: str, routes: Routes) -> Mapping[str, float]:
    return {
        route.name: route.split[name] / sum(route.split.values())
        for channel in Channel
        for route in routes.of(channel)
        if name in route.split
    }


def _source_status(instance: Instance, stale_after: float) -> SourceStatus:
    contacts, source = instance.services.contacts, instance.as_source
    return SourceStatus(
        instance=instance.name,
        users=contacts.users if contacts else None,
        as_of=contacts.as_of if contacts else None,
        freshness=freshness(instance.services, stale_after),
        problem=contacts.problem if contacts else "",
        is_failing=source.is_failing,
        failed_at=source.last_failure.at if source.last_failure else None,
        failure=source.last_failure.reason if source.last_failure else "",
    )
