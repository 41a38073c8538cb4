"""What the provider reports: its places, its words and their statuses. Pure functions."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import msgspec

from gatepost import wire
from gatepost.model import Report, Secret, Status, StatusEvent, WebhookAnswer, WebhookRequest
from gatepost_http.places import Place, Sources, parse_place, read
from gatepost_http.settings import Inbound, Webhook
from gatepost_http.templates import AddFault

_DIGITS = re.compile(r"[1-9][0-9]{6,14}")
_KIND = re.compile(r"[a-z][a-z0-9_ -]{0,31}")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the values of a report stand; None: nowhere."""

    status: Place | None
    id: Place | None
    provider_id: Place | None
    code: Place | None
    recipient: Place | None = None
    text: Place | None = None

    def kinds(self) -> set[str]:
        """Return the kinds of the places."""
        return {place.kind for field in fields(self) if (place := getattr(self, field.name)) is not None}


@dataclass(frozen=True, slots=True)
class ReportReader:
    """Reads reports as the settings say."""

    places: Places
    reports: tuple[str, ...]
    statuses: Mapping[str, Status | None]
    opt_out_words: Collection[str]
    answer: WebhookAnswer | None

    def read(self, request: WebhookRequest) -> Report:
        """Return the events of a request that is verified, and the answer; raises BadWebhook where it is none."""
        return msgspec.structs.replace(self._read(request), answer=self.answer)

    def _read(self, request: WebhookRequest) -> Report:
        kinds = self.places.kinds()
        query = request.query if "query" in kinds else {}
        if "json" not in kinds:
            form = dict(request.form) if "form" in kinds else {}
            return wire.collect_events([Sources(form=form, query=query)], self._event)
        found = wire.resolve(request.json(), self.reports)
        reports = [found] if isinstance(found, dict) else found
        return wire.collect_events(reports, lambda report: self._event(Sources(json=report, query=query)))

    def _event(self, sources: Sources) -> StatusEvent | str:
        """Return an event, or the kind of a report that has none."""
        places = self.places
        word = read(places.status, sources)
        if not word:
            return self._opt_out(sources)
        if word not in self.statuses:
            return "unknown"
        status = self.statuses[word]
        if status is None:
            return word.lower() if _KIND.fullmatch(word.lower()) else "without a status"
        return StatusEvent(
            status=status,
            message_id=wire.own_id(read(places.id, sources)),
            provider_id=wire.safe_id(read(places.provider_id, sources)),
            code=wire.safe_code(read(places.code, sources)),
        )

    def _opt_out(self, sources: Sources) -> StatusEvent | str:
        recipient = read(self.places.recipient, sources)
        if not recipient:
            return "malformed"
        if read(self.places.text, sources).strip().upper() not in self.opt_out_words:
            return "inbound"
        number = f"+{recipient}" if _DIGITS.fullmatch(recipient) else recipient
        return StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(number))


def make_reader(webhook: Webhook, add_fault: AddFault) -> ReportReader:
    """Return a reader; adds a fault for each place that is none and for each unknown status."""

    def place(key: str, text: str) -> Place | None:
        try:
            return parse_place(text) if text else None
        except ValueError as error:
            add_fault(f"webhook.{key}", str(error))
            return None

    inbound = webhook.inbound or Inbound(recipient="", text="")
    places = Places(
        status=place("status", webhook.status),
        id=place("id", webhook.id),
        provider_id=place("provider_id", webhook.provider_id),
        code=place("code", webhook.code),
        recipient=place("inbound.recipient", inbound.recipient),
        text=place("inbound.text", inbound.text),
    )
    _check(webhook, places, add_fault)
    try:
        reports = wire.parse_pointer(webhook.reports)
    except ValueError as error:
        add_fault("webhook.reports", str(error))
        reports = ()
    return ReportReader(
        places=places,
        reports=reports,
        statuses=_statuses(webhook.statuses, add_fault),
        opt_out_words={word.strip().upper() for word in inbound.words},
        answer=WebhookAnswer(body=webhook.answer.encode()) if webhook.answer else None,
    )


def _check(webhook: Webhook, places: Places, add_fault: AddFault) -> None:
    if not webhook.status:
        add_fault("webhook.status", "is empty: it is the place of the provider's word for the status")
    if not webhook.id and not webhook.provider_id:
        add_fault(
            "webhook.id", "is missing, and provider_id too: nothing says which message a report is about"
        )
    if {"json", "form"} <= places.kinds():
        add_fault("webhook", "has JSON pointers and form fields: a body is either JSON or a form")
    if webhook.reports and "json" not in places.kinds():
        add_fault("webhook.reports", "is for JSON bodies only")
    if webhook.inbound is not None and not (webhook.inbound.recipient and webhook.inbound.text):
        add_fault("webhook.inbound", "needs the places of recipient and text")


def _statuses(words: Mapping[str, str], add_fault: AddFault) -> Mapping[str, Status | None]:
    statuses: dict[str, Status | None] = {}
    known = [status.value for status in Status]
    for word, status in words.items():
        if status and status not in known:
            closest = next(iter(difflib.get_close_matches(status, known, 1)), "")
            question = f"is it {closest}? " if closest else ""
            add_fault(
                f"webhook.statuses.{word}", f"is no status; {question}there are: {', '.join(known)}, or empty"
            )
        else:
            statuses[word] = Status(status) if status else None
    if not any(words.values()):
        add_fault("webhook.statuses", "gives no word a status")
    return statuses
