"""The status of the gateway as an operator reads it."""

import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gatepost.cli.common import printable
from gatepost.cli.pause import pause_text
from gatepost.outbox.overview import CallbackOverview, Overview, ReducedShare, WaitingMessages
from gatepost.outbox.pauses import Pause
from gatepost.outbox.replicas import Replica
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.durations import duration
from gatepost.upkeep.freshness import Freshness
from gatepost.upkeep.problems import Problem
from gatepost.upkeep.status import GatewayStatus, InstanceStatus, SourceStatus
from gatepost.web.admin.words import moment_text, plural, size_text, utc

MAX_LINES = 20
"""Lines of one part; --json has all of them."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sees first."""

    gateway: str
    """``running``, or why nothing is known of the gateway."""
    problems: Sequence[Problem]
    """What to look at now, the most urgent first."""
    process: GatewayStatus | None
    """The gateway that runs on this machine; None where none answered."""
    store: Overview | None
    """None where the store can't be read."""


def status_view(status: Status) -> RenderableType:
    """Return the status as one screen: what to look at first, then everything by its parts."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in _parts(status).items():
        for number, line in enumerate(lines[:MAX_LINES]):
            table.add_row("" if number else name, Text(printable(line)))
        if len(lines) > MAX_LINES:
            table.add_row("", f"and {len(lines) - MAX_LINES} more, which --json shows")
    return Group(_verdict(status), table)


def _verdict(status: Status) -> RenderableType:
    problems: Sequence[Problem] = status.problems
    if not problems and status.process is None:
        # Plugins, contact sources and certificates are known to the gateways alone, which run on other machines.
        return Text(
            "The store is fine. Whether the gateways are: run gatepost status on their machines.", "bold"
        )
    if not problems:
        return Text("Everything is fine.", "bold green")
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for one in problems:
        text = Text(printable(one.text), "red")
        text.append(f"\n{printable(one.cure)}", "default")
        table.add_row(" -", text)
    return Group(Text("Look at this now:", "bold red"), table)


def _parts(status: Status) -> Mapping[str, Sequence[str]]:
    gateway, found = status.process, status.store
    parts: dict[str, list[str]] = {"gateway": [_gateway_text(status)]}
    paused = found.pauses if found else ()
    if found:
        parts["replicas"] = _replica_texts(found.replicas)
        parts["messages"] = [_waiting_text(one) for one in found.waiting] or ["none waits"]
    if gateway:
        parts["plugins"] = [_instance_text(one, paused) for one in gateway.plugins]
        parts["contacts"] = [_source_text(one) for one in gateway.sources]
    if found:
        parts["callbacks"] = list(_callback_texts(found.callbacks, gateway))
        parts["shares"] = [_share_text(one) for one in found.shares]
        parts["warm-ups"] = [_warmup_text(one) for one in found.warmups]
        parts["pauses"] = [pause_text(one) for one in found.pauses]
        parts["limits"] = [
            f"{one.setting}: {one.used:,} of {one.cap:,} used ({100 * one.used // one.cap} %)"
            for one in found.limits
        ]
        parts["store"] = [size_text(found.size)]
    return parts


def _gateway_text(status: Status) -> str:
    one = status.process
    if one is None:
        return status.gateway
    end = one.certificate_ends_at
    return (
        f"running for {duration(one.uptime)}, version {one.version}"
        f"{f', certificate until {utc(end)}' if end is not None else ''}"
    )


def _replica_texts(replicas: Sequence[Replica]) -> list[str]:
    """Describe the replicas; a single one that is there says no more than the line of the gateway."""
    return [] if len(replicas) == 1 and not replicas[0].is_gone else [_replica_text(one) for one in replicas]


def _replica_text(one: Replica) -> str:
    if one.is_gone:
        return f"{one.host}: gone, seen {duration(one.age)} ago; version {one.version}"
    up = one.seen_at - one.started_at
    return f"{one.host}: up for {duration(up)}, version {one.version}, seen {duration(one.age)} ago"


def _waiting_text(one: WaitingMessages) -> str:
    overdue = f", the oldest due for {duration(one.overdue)}" if one.overdue else ""
    held = f", {one.held:,} held" if one.held else ""
    paused = ", paused" if one.paused else ""
    return (
        f"{one.channel}, route {one.route or 'not decided'}, client {one.client}: "
        f"{plural(one.messages, 'message')}{overdue}{held}{paused}"
    )


def _instance_text(one: InstanceStatus, pauses: Sequence[Pause]) -> str:
    state = f"{one.state} for {duration(one.seconds)}" if one.seconds else one.state
    facts = [
        f"{state}{', failing for ' + duration(one.failing_for) if one.failing_for else ''}",
        *(["misconfigured"] if one.misconfigured else []),
        *(["paused"] if any(pause.scope.plugin == one.instance for pause in pauses) else []),
        f"{round(one.per_minute)} a minute",
        *(f"{round(100 * part)} % of route {route}" for route, part in one.shares.items()),
        "no success yet" if one.since_success is None else f"last success {duration(one.since_success)} ago",
    ]
    return f"{one.instance}: {', '.join(facts)}{one.reason and f': {one.reason}'}"


def _source_text(one: SourceStatus) -> str:
    facts: list[str] = []
    if one.users is not None:
        facts.append(plural(one.users, "user"))
    facts.append(_age_text(one))
    if one.problem:
        facts.append(one.problem)
    if one.failed_at is not None:
        facts.append(
            f"{'fails now' if one.is_failing else 'last failed'} ({utc(one.failed_at)}): {one.failure}"
        )
    return f"{one.instance}: {'; '.join(facts)}"


def _age_text(one: SourceStatus) -> str:
    if one.as_of is None:
        return (
            f"{'no longer says' if one.freshness == Freshness.LOST else 'does not say'} how old its data are"
        )
    age = time.time() - one.as_of
    if one.freshness == Freshness.FUTURE:
        return f"data of a time {duration(-age)} from now"
    return (
        f"data {duration(max(0.0, age))} old{', which is stale' if one.freshness == Freshness.STALE else ''}"
    )


def _callback_texts(found: CallbackOverview, gateway: GatewayStatus | None) -> Iterator[str]:
    resting = {(one.client, one.target): one for one in gateway.resting_targets} if gateway else {}
    if found.waiting:
        yield f"{found.waiting:,} wait, the oldest for {duration(found.age)}"
    elif not found.dead:
        yield "none waits"
    for one in found.targets:
        rest = resting.get((one.client, one.target))
        facts = [f"{one.waiting:,} wait"]
        if one.dead:
            facts.append(f"{one.dead:,} given up")
        if rest:
            facts.append(f"rests for {duration(rest.seconds)}: {rest.reason}")
        yield f"{one.target}, client {one.client}: {', '.join(facts)}"


def _warmup_text(one: WarmupView) -> str:
    return f"{one.instance}: {one.used:,} of {one.cap:,} used in this {one.per}, until {moment_text(one.ends_at)}; {one.decision}"


def _share_text(one: ReducedShare) -> str:
    place = f" in {one.country}" if one.country else ""
    return f"{one.route}{place}: {one.instance} has {round(100 * one.factor)} % of its share, because {one.reason}"
