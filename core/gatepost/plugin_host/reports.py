"""Copies of Reports: only valid events, kinds from a bounded list, and an answer that can be sent."""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from gatepost.errors import Unavailable
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer
from gatepost.plugin_host.isolation import HookRunner
from gatepost.plugin_host.sanitize import InvalidResult, clean_code, clean_id, type_name

MAX_ANSWER_BODY = 65_536
"""Bytes of the body of an answer."""

MAX_IGNORED_KINDS = 32
"""Kinds of ignored events that are counted separately, for each instance."""

MAX_IGNORED = 10**9
"""Ignored events of one kind in a report; a larger number is no count, and the metrics could not add it."""

_IGNORED_KIND = re.compile(r"[a-z][a-z0-9_ -]{0,31}")
_CONTENT_TYPE = re.compile(r"[\x20-\x7e]{1,255}")
_WITHOUT_BODY = frozenset({204, 205, 304})
"""Statuses whose answers have no body in HTTP."""


class ReportChecker:
    """Checks what one instance reports. Whatever is invalid is left out, and is a violation of the contract."""

    def __init__(self, runner: HookRunner) -> None:
        """``runner`` records the violations, and knows whether the instance's lifespan has ended."""
        self._runner = runner
        self._ignored_kinds: set[str] = set()
        """The kinds that the instance has used so far."""

    def copy(self, hook: str, report: object) -> Report:
        """Copy a Report that a hook returned; raises InvalidResult for anything else.

        Its invalid events are added to the ignored ones as ``invalid``.
        """
        if not isinstance(report, Report):
            raise InvalidResult(f"returned {type_name(report)} instead of a Report")
        # Only a list or a tuple: another iterable may be endless.
        listed: object = report.events
        if not isinstance(listed, list | tuple) or not isinstance(report.ignored, Mapping):
            raise InvalidResult("returned a Report without a list of events")
        returned = list(listed)
        events = [event for event in map(copy_event, returned) if event is not None]
        ignored = _copy_ignored(report.ignored, self._ignored_kinds)
        if invalid := len(returned) - len(events):
            ignored["invalid"] = ignored.get("invalid", 0) + invalid
            self._runner.record_violation(hook, f"{invalid} of {len(returned)} returned events are invalid")
        return Report(events=events, ignored=ignored, answer=self._copy_answer(hook, report.answer))

    def copy_own(self, report: object) -> Report:
        """Copy a Report that the plugin passed to ``Context.report``.

        Raises Unavailable when the plugin's lifespan has ended, and TypeError for anything but a Report.
        """
        if self._runner.lifespan_ended:
            raise Unavailable("its lifespan has ended: reload or restart the gateway")
        try:
            return self.copy("report", report)
        except InvalidResult as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001  the parts of a plugin's Report are its code too
            problem = f"passed a Report that raises {type_name(error)}"
        self._runner.record_violation("report", problem)
        raise TypeError(problem)

    def _copy_answer(self, hook: str, answer: object) -> WebhookAnswer | None:
        """Copy an answer; None where there is none that can be sent: the events count all the same."""
        if answer is None:
            return None
        try:
            return copy_answer(answer)
        except InvalidResult as error:
            self._runner.record_violation(hook, str(error))
            return None


def copy_event(event: object) -> StatusEvent | None:
    """Copy an event; None when it has no valid status, or neither a valid id of a message nor a recipient."""
    if not isinstance(event, StatusEvent) or not isinstance(event.status, Status):
        return None
    message_id, provider_id = clean_id(event.message_id), clean_id(event.provider_id)
    recipient: Secret | None = None
    if event.recipient is not None:
        named: object = event.recipient
        # Neither a subclass nor a Secret of anything but a text.
        text = named.reveal() if type(named) is Secret else None
        if not isinstance(text, str):
            return None
        recipient = Secret(str.__str__(text))
    if not (message_id or provider_id or recipient):
        return None
    return StatusEvent(
        status=event.status,
        message_id=message_id,
        provider_id=provider_id,
        recipient=recipient,
        code=clean_code(event.code, recipient),
    )


def copy_answer(answer: object) -> WebhookAnswer:
    """Copy a WebhookAnswer; raises InvalidResult for anything that can't be sent."""
    if not isinstance(answer, WebhookAnswer):
        raise InvalidResult(f"returned {type_name(answer)} instead of a WebhookAnswer")
    body, content_type, status = answer.body, answer.content_type, answer.status
    if type(status) is not int or not 200 <= status <= 499:
        raise InvalidResult("returned an answer whose status is not from 200 to 499")
    if type(body) is not bytes or len(body) > MAX_ANSWER_BODY:
        raise InvalidResult(f"returned an answer whose body is not bytes, at most {MAX_ANSWER_BODY:,}")
    if body and status in _WITHOUT_BODY:
        raise InvalidResult(f"returned an answer with a body and the status {status}")
    if type(content_type) is not str or not _CONTENT_TYPE.fullmatch(content_type):
        raise InvalidResult(
            "returned an answer whose content_type is not 1 to 255 characters of printable ASCII"
        )
    return WebhookAnswer(body=body, content_type=content_type, status=status)


def _copy_ignored(counts: Mapping[Any, Any], kinds: set[str]) -> dict[str, int]:
    """Copy the counts of ignored events by kind.

    A kind becomes a label of a metric: there must be few of them, and none may hold private data.
    """
    ignored: dict[str, int] = {}
    for kind, count in itertools.islice(counts.items(), MAX_IGNORED_KINDS):
        if not isinstance(count, int) or not 0 <= count <= MAX_IGNORED:
            continue
        valid = isinstance(kind, str) and _IGNORED_KIND.fullmatch(kind) is not None
        if valid and len(kinds) < MAX_IGNORED_KINDS:
            kinds.add(kind)
        name = kind if valid and kind in kinds else "other"
        ignored[name] = ignored.get(name, 0) + int(count)
    return ignored
