"""What is stored of a message besides its timeline, and what is wrong with it, in words."""

from collections.abc import Iterable, Mapping

from gatepost.outbox.queries import MessageView, StatusView
from gatepost.outbox.states import CallbackState
from gatepost.web.admin.words import plural


def facts(message: MessageView) -> Mapping[str, str]:
    """Return what is stored of a message, by the name of each fact; empty ones are left out."""
    deaths = f"{plural(message.deaths, 'time')} while it was sending this message" if message.deaths else ""
    found = {
        "ext_message_id": message.id,
        "uid": message.uid,
        "client": message.client,
        "user": message.ext_user_id,
        "channel": message.channel,
        "route": message.route or "not decided yet",
        "country": message.country,
        "state": message.state,
        "reason": _reason(message),
        "process died": deaths,
        "content": "stored" if message.has_content else "erased",
    }
    return {name: value for name, value in found.items() if value}


def problems(message: MessageView) -> Iterable[str]:
    """Yield what is wrong with a message: why it was not sent, and which callbacks fail."""
    if message.reason:
        yield _reason(message)
    for one in message.statuses:
        if one.problem and one.callback_state != CallbackState.ACKNOWLEDGED:
            yield f"telling {one.status}: {_callback_text(one)}"


def _reason(message: MessageView) -> str:
    if not message.reason:
        return ""
    instance = f"{message.instance}: " if message.instance else ""
    return f"{instance}{message.reason}{f' [{message.code}]' if message.code else ''}"


def _callback_text(one: StatusView) -> str:
    result = "given up" if one.callback_state == CallbackState.DEAD else "to be called again"
    return f"{result} ({plural(one.attempts, 'call')}: {one.problem})"
