"""Opening, closing and asking how the provider is."""

import asyncio
import contextlib

from gatepost.plugin_host.discovery import implements
from gatepost.testing.conformance import asking
from gatepost.testing.conformance.bench import Bench, Live, described, until
from gatepost.testing.conformance.provider import Trouble
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.watching import everything_in, found_in


async def nothing_left(live: Live) -> None:
    """AssertionError unless the plugin's tasks have ended and its sockets are closed; it may take a moment."""
    await until(
        lambda: not live.watch.running(), lambda: f"these tasks still run: {', '.join(live.watch.running())}"
    )
    await until(
        lambda: not live.watch.connected(), lambda: f"{live.watch.connected()} of its sockets are still open"
    )


class _Halt(Exception):
    """What happens to somebody else while a plugin is open."""


@check(Group.LIFESPAN, unattended=True)
async def opens_and_closes(bench: Bench) -> None:
    """It opens, and once it is closed none of its tasks runs and none of its sockets is open."""
    async with bench.live() as live:
        await _use(bench, live)
    await nothing_left(live)


@check(Group.LIFESPAN, unattended=True)
async def twice(bench: Bench) -> None:
    """Two instances live side by side and one after the other: the end of one is nothing to the other."""
    async with bench.live() as outer:
        async with bench.live() as inner:
            await _use(bench, inner)
        await _use(bench, outer)
    async with bench.live() as again:
        await _use(bench, again)


@check(Group.LIFESPAN, unattended=True)
async def error_inside(bench: Bench) -> None:
    """An error inside it comes out again, and everything is closed."""
    lives: list[Live] = []
    with contextlib.suppress(_Halt):
        await _halted(bench, lives)
        raise AssertionError("the lifespan swallowed an error that was not its own")
    await nothing_left(lives[0])


async def _halted(bench: Bench, lives: list[Live]) -> None:
    async with bench.live() as live:
        lives.append(live)
        await _use(bench, live)
        raise _Halt


@check(Group.LIFESPAN, unattended=True)
async def cancelled(bench: Bench) -> None:
    """A cancellation inside it comes out again, and everything is closed."""
    lives: list[Live] = []

    async def stay() -> None:
        async with bench.live() as live:
            lives.append(live)
            await asyncio.Event().wait()

    task = asyncio.create_task(stay())
    await until(lambda: bool(lives) or task.done(), lambda: "the lifespan did not open")
    if not lives:
        await task
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "the lifespan swallowed a cancellation"
    await nothing_left(lives[0])


@check(Group.LIFESPAN, unattended=True)
async def free_loop(bench: Bench) -> None:
    """It opens and closes without a blocking call on the loop's thread."""
    async with bench.live() as live:
        pass
    calls = ", ".join(sorted(set(live.watch.blocking)))
    assert not calls, f"the lifespan blocks the loop by {calls}: hand it to asyncio.to_thread"


@check(Group.LIFESPAN, Trouble.UNREACHABLE)
async def provider_down(bench: Bench) -> None:
    """It opens although nobody listens where the provider should be."""
    with bench.nobody_listening() as table:
        try:
            async with bench.live(table=table):
                pass
        except Exception as error:  # noqa: BLE001  whatever it is, the gateway would not start
            raise AssertionError(f"the lifespan did not open: {described(error)}") from None


async def _use(bench: Bench, live: Live) -> None:
    """Something that makes connections, where there is a stand-in to make them to."""
    if bench.provider is None:
        return
    if bench.channels:
        await bench.on(bench.channels[0]).delivered(live)
    elif implements(bench.plugin, "ping"):
        outcome = await live.ping()
        assert outcome is None, f"ping: {described(outcome)}"


# ping


@check(Group.PING, unattended=True)
async def fine(bench: Bench) -> None:
    """It returns None when all is well."""
    async with bench.live() as live:
        outcome = await live.ping()
    assert outcome is None, f"all is well, and {described(outcome)}"


@check(Group.PING)
async def sends_nothing(bench: Bench) -> None:
    """It sends no message."""
    provider = bench.provider
    attempts = provider.attempts if provider else 0
    async with bench.live() as live:
        await live.ping()
    assert not provider or provider.attempts == attempts, "the provider was asked to send something"


@check(Group.PING, Trouble.OUTAGE)
async def outage(bench: Bench) -> None:
    """A provider with a fault of its own is Unavailable."""
    await asking.unavailable(bench, Trouble.OUTAGE, Live.ping)


@check(Group.PING, Trouble.DENY)
async def denied(bench: Bench) -> None:
    """A key that is refused is Unavailable, misconfigured."""
    await asking.denied(bench, Live.ping)


@check(Group.PING, Trouble.HANG)
async def hang(bench: Bench) -> None:
    """A provider that does not answer is Unavailable before the deadline has long passed."""
    await asking.unavailable(bench, Trouble.HANG, Live.ping)


@check(Group.PING, Trouble.DROP)
async def drop(bench: Bench) -> None:
    """A connection that breaks is Unavailable; a ping has nothing that could be Uncertain."""
    await asking.unavailable(bench, Trouble.DROP, Live.ping)


@check(Group.PING, Trouble.UNREACHABLE)
async def unreachable(bench: Bench) -> None:
    """A provider where nobody listens is Unavailable."""
    await asking.nobody_listens(bench, Live.ping)


@check(Group.PING, unattended=True)
async def says_no_secret(bench: Bench) -> None:
    """What it logs and raises holds none of the settings' secrets."""
    async with bench.live() as live:
        outcome = await live.ping()
    text = everything_in(outcome) + "\n".join(live.watch.texts)
    assert not found_in(text, bench.secrets()), "a secret stands in a log or an error"
