"""What is built from one configuration. A reload builds another of it, while the old one finishes what it has."""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gatepost.body_limit import BodyLimit
from gatepost.callback_urls import CallbackUrlPolicy
from gatepost.config.settings import Settings
from gatepost.contacts.lookup import ContactCache, Contacts
from gatepost.contacts.users import UserSearch
from gatepost.delivery.in_flight import InFlight
from gatepost.delivery.routes import RouteMember, route_member
from gatepost.delivery.worker import DeliveryWorker
from gatepost.intake.accept import Acceptance
from gatepost.links.opens import Opens
from gatepost.links.tokens import LinkTokens
from gatepost.links.unsubscribe import Unsubscribing
from gatepost.observe.metrics import Metrics
from gatepost.outbox import Outbox
from gatepost.outbox.refusals import RefusalLog
from gatepost.plugin_host.instances import Instance
from gatepost.throttle import Throttle
from gatepost.upkeep.balance import Balancer
from gatepost.upkeep.gateway_metrics import gateway_metrics
from gatepost.upkeep.health import HealthCheck
from gatepost.upkeep.store_gauges import StoreMetrics
from gatepost.web import messages
from gatepost.web.auth import Authenticator
from gatepost.web.services import Services
from gatepost.webhooks.handler import Webhooks


class LastingParts(NamedTuple):
    """The parts of a gateway that its generations share, and that live as long as the process."""

    outbox: Outbox
    contact_cache: ContactCache
    in_flight: InFlight
    refusals: RefusalLog


class Generation:
    """The parts of a gateway that work with one configuration."""

    def __init__(
        self,
        settings: Settings,
        instances: Mapping[str, Instance],
        lasting: LastingParts,
        previous: "Generation | None",
    ) -> None:
        """``instances`` are open. ``previous`` is the generation in use: the instances of both keep their throttles."""
        self.settings = settings
        self.instances = instances
        self._lasting = lasting
        self._outbox = lasting.outbox
        self.members: Mapping[str, RouteMember] = self._route_members(previous.members if previous else {})
        """The sending instances with their throttles, by name."""
        self.url_policies = {
            name: CallbackUrlPolicy(client.callback_hosts, client.allow_private_callbacks)
            for name, client in settings.clients.items()
        }
        metrics = gateway_metrics(
            settings, instances, self._outbox, previous.services.metrics if previous else None
        )
        self.contacts = Contacts(self._sources(), settings.contacts.timeout, settings.contacts.default_region)
        self.acceptance = self._acceptance(self.contacts)
        self.delivery = self._delivery(self.contacts, metrics)
        self.services: Services = self._services(metrics)
        """What the routes call."""
        self._balancer = Balancer(
            self._outbox, self.delivery.shares, lambda: self.services.webhooks.refused_instances
        )
        self.worker: asyncio.Task[None] | None = None
        """The task that sends, from ``start`` on."""
        self._balance: asyncio.Task[None] | None = None

    @property
    def throttles(self) -> Mapping[str, Throttle]:
        """The throttle of each sending instance, by its name."""
        return {name: member.throttle for name, member in self.members.items()}

    async def prepare(self) -> None:
        """Read what ``start`` needs: what has lost its share does not get it back by a restart or a reload."""
        await self._balancer.update()

    def start(self, on_end: Callable[[asyncio.Task[None]], None]) -> None:
        """Begin to send; ``on_end`` is called with each loop that ends, which none should do by itself."""
        for instance in self.instances.values():
            instance.services.start(self.services.webhooks, self._outbox)
        self.worker = asyncio.create_task(self.delivery.run(), name="delivery")
        self._balance = asyncio.create_task(self._balancer.run(), name="balance")
        for task in (self.worker, self._balance):
            task.add_done_callback(on_end)

    def retire(self) -> None:
        """Begin to send nothing more. The worker takes the time that it needs for what it has, and ends."""
        self.delivery.retire()
        if self._balance:
            self._balance.cancel()

    def stop(self) -> None:
        """Begin nothing more, for the end of the process: messages are not repeated either."""
        self.retire()
        self.delivery.stop()

    def _route_members(self, earlier: Mapping[str, RouteMember]) -> dict[str, RouteMember]:
        return {
            name: route_member(
                instance,
                clients=len(self.settings.clients),
                shared=self._outbox.is_shared,
                earlier=earlier.get(name),
            )
            for name, instance in self.instances.items()
            if instance.channels
        }

    def _sources(self) -> dict[str, list[Instance]]:
        return {
            client: [self.instances[name] for name in self.settings.contact_sources(client)]
            for client in self.settings.clients
        }

    def _acceptance(self, contacts: Contacts) -> Acceptance:
        return Acceptance(
            self.settings,
            outbox=self._outbox,
            contacts=contacts,
            contact_cache=self._lasting.contact_cache,
            url_policies=self.url_policies,
            refusals=self._lasting.refusals,
        )

    def _delivery(self, contacts: Contacts, metrics: Metrics) -> DeliveryWorker:
        return DeliveryWorker(
            self.settings,
            outbox=self._outbox,
            members=self.members,
            contacts=contacts,
            contact_cache=self._lasting.contact_cache,
            metrics=metrics,
            in_flight=self._lasting.in_flight,
        )

    def _services(self, metrics: Metrics) -> Services:
        settings, outbox = self.settings, self._outbox
        tokens = LinkTokens(settings.server.token_keys)
        users = UserSearch(self.contacts, settings.routes, settings.contacts.timeout)
        return Services(
            settings=settings,
            authenticator=Authenticator(
                settings.clients, settings.server.trusted_proxies, settings.server.metrics_allow
            ),
            acceptance=self.acceptance,
            webhooks=Webhooks(self.instances, settings.routes, outbox, users, metrics),
            unsubscribing=Unsubscribing(settings, outbox, tokens, metrics),
            opens=Opens(settings, outbox, tokens, metrics),
            # One body of the largest size that the operator allows must always fit.
            bodies=BodyLimit(max(messages.MAX_BYTES_IN_FLIGHT, settings.server.max_body)),
            metrics=metrics,
            tracing=outbox.trail.tracing,
            store_metrics=StoreMetrics(settings, outbox, metrics),
            health=HealthCheck(
                routes=settings.routes, outbox=outbox, throttles=self.throttles, metrics=metrics
            ),
        )
