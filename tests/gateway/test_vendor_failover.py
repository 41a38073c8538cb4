"""Routes across three vendors: what each kind of fault of each vendor's emulator means for a message, as Smartico hears it."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gatepost.model import Status
from gatepost.testing import emulators
from gatepost.testing.configuration import free_port
from gatepost.testing.conformance.provider import provider_of
from gatepost.testing.features import FailureMode

ROUTES = {"sms": ["twilio", "infobip", "smpp"], "email": ["ses", "sendgrid", "smtp"]}

# The provider has certainly not taken the message.
AWAY = (FailureMode.THROTTLE, FailureMode.OUTAGE, FailureMode.DENY, FailureMode.REDIRECT)
# The provider may have it.
TAKEN = (FailureMode.LOSE, FailureMode.DRIP)
LOST = (*TAKEN, FailureMode.HANG, FailureMode.DROP, FailureMode.NONSENSE)


def cases(*modes):
    """Return each fault of each vendor that has another one behind it, as channel, place on the route and fault."""
    return [
        pytest.param(channel, place, mode, id=f"{use}-{mode}")
        for channel, route in ROUTES.items()
        for place, use in enumerate(route[:-1])
        for mode in modes
        if mode in emulators.installed()[use].load().failure_modes
    ]


class Vendors:
    """The emulators of a route, in its order."""

    def __init__(self, channel, emulators):
        self.channel = channel
        self.emulators = emulators
        self.providers = [provider_of(emulator) for emulator in emulators.values()]

    def fail(self, place, mode):
        self.providers[place].simulate(mode)

    def sends(self, message):
        """Return how many times each vendor has taken the message."""
        return [
            sum(received.id == message for received in provider.received()) for provider in self.providers
        ]

    def reports(self, place):
        """Return whether this vendor reports anything; a relay does not."""
        return hasattr(list(self.emulators.values())[place], "report_status")

    async def report(self, place, message, status):
        await list(self.emulators.values())[place].report_status(message, status)


@pytest.fixture
def vendors(deployment):
    """Return a context manager that runs a gateway on a channel's route, with the emulators of its vendors."""

    # Some vendors report to an address that comes with the message.
    port = free_port()
    deployment.tables["server"] |= {"port": port, "public_url": f"http://127.0.0.1:{port}"}

    @asynccontextmanager
    async def vendors(channel, unreachable=None):
        async with AsyncExitStack() as stack:
            running = {use: await stack.enter_async_context(emulators.create(use)) for use in ROUTES[channel]}
            for place, (use, emulator) in enumerate(running.items()):
                nowhere = emulator.table_for_port(free_port()) if place == unreachable else {}
                deployment.tables[f"plugins.{use}"] = {"use": use, **emulator.table, **nowhere}
            deployment.emulators |= running
            yield (
                Vendors(channel, running),
                await stack.enter_async_context(deployment.running(**{channel: ROUTES[channel]})),
            )

    return vendors


@pytest.fixture
def send(deployment):
    """Return a function that lets Smartico send a message on a channel."""
    return lambda channel: deployment.email() if channel == "email" else deployment.sms()


@pytest.mark.parametrize(("channel", "place", "mode"), cases(*AWAY))
async def test_the_next_vendor_gets_what_the_ones_before_it_have_not_taken(
    deployment, vendors, send, channel, place, mode
):
    async with vendors(channel) as (route, gateway):
        for before in range(place):
            route.fail(before, FailureMode.OUTAGE)
        route.fail(place, mode)
        message = await send(channel)
        await deployment.hears(message, "accepted")
        assert route.sends(message) == [int(at == place + 1) for at in range(3)]
        if route.reports(place + 1):
            await route.report(place + 1, message, Status.FAILED)
            await deployment.hears(message, "accepted", "failed")
        await gateway.settled()


@pytest.mark.parametrize(("channel", "place", "mode"), cases(FailureMode.UNREACHABLE))
async def test_the_next_vendor_gets_what_finds_no_server(deployment, vendors, send, channel, place, mode):
    async with vendors(channel, unreachable=place) as (route, _):
        for before in range(place):
            route.fail(before, FailureMode.OUTAGE)
        message = await send(channel)
        await deployment.hears(message, "accepted")
        assert route.sends(message) == [int(at == place + 1) for at in range(3)]


@pytest.mark.parametrize(("channel", "place", "mode"), cases(FailureMode.REFUSE))
async def test_what_a_vendor_refuses_goes_to_no_other(deployment, vendors, send, channel, place, mode):
    async with vendors(channel) as (route, gateway):
        for before in range(place):
            route.fail(before, FailureMode.OUTAGE)
        route.fail(place, mode)
        message = await send(channel)
        await deployment.hears(message, "rejected")
        await gateway.settled()
        assert route.sends(message) == [0, 0, 0]


@pytest.mark.parametrize(("channel", "place", "mode"), cases(*LOST))
async def test_what_a_vendor_may_have_waits_for_its_report_and_goes_to_no_other(
    deployment, vendors, send, deadlines_pass, channel, place, mode
):
    deployment.tables["delivery"]["uncertain_wait"] = 3600
    async with vendors(channel) as (route, gateway):
        for before in range(place):
            route.fail(before, FailureMode.OUTAGE)
        route.fail(place, mode)
        message = await send(channel)
        await gateway.waits(channel, "uncertain")
        assert deployment.crm.attempts == []
        if mode in TAKEN:
            await route.report(place, message, Status.FAILED)
            await deployment.hears(message, "accepted", "failed")
            await gateway.settled()
        assert route.sends(message) == [int(at == place and mode in TAKEN) for at in range(3)]
