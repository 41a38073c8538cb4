"""What became of one message: what happened, in one column of times, and what comes next."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gatepost.callbacks.attempt import RETRY_DELAYS
from gatepost.config.settings import Delivery
from gatepost.errors import Code
from gatepost.outbox.audit import AuditView
from gatepost.outbox.pauses import Pause
from gatepost.outbox.queries import MessageView, StatusView, TryView
from gatepost.outbox.refusals import RefusalView
from gatepost.outbox.states import FINAL_STATES, CallbackState, State
from gatepost.outbox.warmups import WarmupView
from gatepost.upkeep.durations import duration
from gatepost.web.admin.requests import RestingInstance
from gatepost.web.admin.words import moment_text, plural

MAX_CALLS = len(RETRY_DELAYS) + 1
"""Calls after which a callback is given up."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline."""

    at: float | None
    """Seconds since the epoch; None: at no certain time."""
    kind: str
    """``accepted``, ``refused``, ``try``, ``status``, ``callback``, ``operator`` or ``next``."""
    text: str
    failed: bool = False
    """Whether it did not go well."""
    operation: str = ""
    """What an operator can do to let it come: ``retry`` or ``tell``; empty: it comes by itself."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a message that waits depends on, at the moment ``now``."""

    now: float
    delivery: Delivery
    pauses: Sequence[Pause] = ()
    """The pauses that stop it."""
    resting: Sequence[RestingInstance] = ()
    """The instances of its channel that rest."""
    full: Sequence[WarmupView] = ()
    """The instances that may send it and whose warm-up caps are used."""
    problem: str = ""
    """Why the resting instances are not known."""


def timeline(message: MessageView, acts: Iterable[AuditView], refused: Iterable[RefusalView]) -> list[Step]:
    """Return what happened, the first first."""
    route = f"route {message.route}" if message.route else "route not decided yet"
    country = f", country {message.country}" if message.country else ""
    accepted = f"accepted from {message.client}, uid {message.uid}, {route}{country}"
    steps = [
        *(Step(at=one.refused_at, kind="refused", text=refusal_text(one), failed=True) for one in refused),
        Step(at=message.created_at, kind="accepted", text=accepted),
        *(_try_step(one) for one in message.tries),
        *(_status_step(one) for one in message.statuses),
        *(step for one in message.statuses for step in _callback_steps(one)),
        *(Step(at=one.recorded_at, kind="operator", text=_act_text(one)) for one in acts),
    ]
    # Sorting keeps the order of what happened at the same time.
    return sorted(steps, key=lambda step: step.at or 0.0)


def refusal_text(refusal: RefusalView) -> str:
    """Return why a request was refused, with the code's meaning."""
    name = Code(refusal.code).name if refusal.code in list(Code) else ""
    meaning = f" ({name.replace('_', ' ').lower()})" if name else ""
    return f"refused with code {refusal.code}{meaning}: {refusal.reason}"


def _try_step(one: TryView) -> Step:
    choice = f" ({one.choice})" if one.choice else ""
    reason = f": {one.reason}" if one.reason else ""
    code = f" [{one.code}]" if one.code else ""
    details = [
        f"{one.instance}{choice}: {one.outcome} after {one.duration:.2f} s{reason}{code}",
        f"its id {one.provider_id}" if one.provider_id else "",
        _parts_text(one),
        one.price and f"price {one.price} {one.currency}".rstrip(),
    ]
    failed = one.outcome not in {"sent", "delivered"}
    return Step(at=one.started_at, kind="try", text=", ".join(filter(None, details)), failed=failed)


def _parts_text(one: TryView) -> str:
    if not (one.parts or one.counted_parts):
        return ""
    counted = (
        plural(one.parts, "part") if one.parts else f"{plural(one.counted_parts, 'part')} by Gatepost's count"
    )
    if not one.not_gsm7:
        return counted
    name = unicodedata.name(one.not_gsm7, "a control character").lower()
    shown = f"{one.not_gsm7} " if one.not_gsm7.isprintable() else ""
    return f"{counted}, not in the GSM alphabet because of {shown}(U+{ord(one.not_gsm7):04X}, {name})"


def _status_step(one: StatusView) -> Step:
    code = f" [{one.code}]" if one.code else ""
    reporter = f", reported by {one.reporter}" if one.reporter else ""
    failed = one.status in {"failed", "rejected", "complained"}
    return Step(at=one.recorded_at, kind="status", text=f"status {one.status}{code}{reporter}", failed=failed)


def _callback_steps(one: StatusView) -> Iterator[Step]:
    """Yield the last call about a status, if there was one."""
    if one.called_at is None:
        return
    answer = one.problem or f"HTTP {one.http_status}"
    if one.callback_state == CallbackState.ACKNOWLEDGED:
        calls = f" at call {one.attempts}" if one.attempts > 1 else ""
        text = f"told {one.target} {one.status}: HTTP {one.http_status}{calls}"
    elif one.callback_state == CallbackState.DEAD:
        text = f"gave up telling {one.target} {one.status} after {plural(one.attempts, 'call')}: {answer}"
    else:
        call = f"call {one.attempts} of {MAX_CALLS}" if one.attempts else "the last call"
        text = f"{call} to tell {one.target} {one.status} failed: {answer}"
    failed = one.callback_state != CallbackState.ACKNOWLEDGED
    yield Step(at=one.called_at, kind="callback", text=text, failed=failed)


def _act_text(entry: AuditView) -> str:
    # With ids the operation was on this message, and not on all of its client.
    names = () if "ids" in entry.target else ("client", "channel", "route", "plugin", "sender", "text")
    scope = ", ".join(f"{name} {entry.target[name]}" for name in names if entry.target.get(name))
    return f"{entry.actor}: {entry.operation}{f' {scope}' if scope else ''}{f': {entry.reason}' if entry.reason else ''}"


def next_steps(message: MessageView, around: Surroundings) -> list[Step]:
    """Return what comes next, and when where that is known."""
    steps = [*_next_of_state(message, around), *_next_callbacks(message)]
    if message.ended_at is not None:
        steps.append(
            _next("deleted from the store, with its timeline", message.ended_at + around.delivery.retention)
        )
    return steps


def _next_of_state(message: MessageView, around: Surroundings) -> Iterator[Step]:
    state, due_at = State(message.state), message.due_at
    if state in {State.QUEUED, State.SUSPECT}:
        yield from _next_try(message, around)
    elif state is State.SENDING:
        yield _next("a provider's answer is waited for; at the latest then it counts as lost", due_at)
    elif state is State.UNCERTAIN:
        then = "held for you" if around.delivery.uncertain == "hold" else "sent again"
        yield _next(f"{then}, unless its provider reports that it has it", due_at)
    elif state is State.AWAITING and due_at != message.expires_at:
        yield _next("handed to the next plugin of its route, unless its delivery is reported", due_at)
    elif state is State.HELD:
        yield _next("look for it at the provider; then it can be sent again", operation="retry")
    elif state is State.FAILED and message.has_content:
        yield _next("it can be sent again", operation="retry")
    if state not in FINAL_STATES:
        yield _next("fails, unless a provider has it until then", message.expires_at)


def _next_try(message: MessageView, around: Surroundings) -> Iterator[Step]:
    alone = ", alone" if message.state == State.SUSPECT else ""
    due_at = message.due_at or 0.0
    if due_at > around.now:
        yield _next(f"the next try{alone}, in {duration(due_at - around.now)}", due_at)
    else:
        yield _next(f"a try{alone}, as soon as its turn comes; due for {duration(around.now - due_at)}")
    for pause in around.pauses:
        end = "until it is resumed" if pause.ends_at is None else f"until {moment_text(pause.ends_at)}"
        reason = f": {pause.reason}" if pause.reason else ""
        yield _next(f"paused {end} ({pause.scope.text}), by {pause.actor}{reason}")
    for rest in around.resting:
        end = (
            f"for {duration(rest.seconds)} more" if rest.seconds else "until one message shows that it works"
        )
        yield _next(f"{rest.instance} rests {end}{f': {rest.reason}' if rest.reason else ''}")
    for one in around.full:
        yield _next(
            f"{one.instance} is at its warm-up cap of {one.cap:,}; a new {one.per} begins", one.ends_at
        )
    if around.problem:
        yield _next(f"what rests is not known: {around.problem}")


def _next_callbacks(message: MessageView) -> Iterator[Step]:
    for one in message.statuses:
        match one.callback_state:
            case CallbackState.QUEUED:
                call = f"call {one.attempts + 1} of {MAX_CALLS}"
                yield _next(f"{call} to tell {one.target} {one.status}", one.next_attempt_at)
            case CallbackState.CALLING:
                yield _next(f"{one.target} is being told {one.status}")
            case CallbackState.WAITING:
                yield _next(f"{one.target} is told {one.status} after the status before it")
            case CallbackState.DEAD:
                yield _next(f"{one.target} can be told {one.status} all the same", operation="tell")


def _next(text: str, at: float | None = None, *, operation: str = "") -> Step:
    return Step(at=at, kind="next", text=text, operation=operation)
