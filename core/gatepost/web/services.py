"""The services that the routes call."""

import time
from typing import Any

import msgspec
from litestar import Request

from gatepost.body_limit import BodyLimit
from gatepost.config.settings import Settings
from gatepost.intake.accept import Acceptance
from gatepost.links.opens import Opens
from gatepost.links.unsubscribe import Unsubscribing
from gatepost.observe.log_throttle import LogThrottle
from gatepost.observe.metrics import Metrics
from gatepost.observe.tracing import Tracing
from gatepost.upkeep.health import HealthCheck
from gatepost.upkeep.store_gauges import StoreMetrics
from gatepost.web.auth import Authenticator
from gatepost.webhooks.handler import Webhooks

SERVICES_KEY = "gatepost"
"""The key of the application's state under which the function is stored that returns its Services."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the routes call."""

    settings: Settings
    authenticator: Authenticator
    acceptance: Acceptance
    webhooks: Webhooks
    unsubscribing: Unsubscribing
    opens: Opens
    metrics: Metrics
    tracing: Tracing
    store_metrics: StoreMetrics
    health: HealthCheck
    bodies: BodyLimit
    """The limit for the bodies of ``/email`` and ``/sms``."""
    log_throttle: LogThrottle = msgspec.field(default_factory=lambda: LogThrottle(time.monotonic))

    async def scrape(self) -> bytes:
        """Return the metrics of this gateway in Prometheus's text format."""
        await self.store_metrics.update()
        return self.metrics.expose()


def services_of(request: Request[Any, Any, Any]) -> Services:
    """Return the services that were current when this is called; a reload replaces them."""
    services: Services = request.app.state[SERVICES_KEY]()
    return services
