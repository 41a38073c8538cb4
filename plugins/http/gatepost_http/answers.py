"""What the provider's answer to a send means. Pure functions."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Status
from gatepost_http.places import text_of
from gatepost_http.settings import Answer
from gatepost_http.templates import AddFault

_STATUS = re.compile(r"[1-5][0-9]{2}|[1-5]xx")
_AMOUNT = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for answers of one kind."""

    means: str
    statuses: Collection[int]
    at: wire.Pointer | None
    values: Collection[str]

    def holds(self, status: int, content: Any) -> bool:
        """Return whether the rule is about this answer."""
        if self.statuses and status not in self.statuses:
            return False
        if self.at is None:
            return True
        value = wire.resolve(content, self.at)
        if self.values:
            return text_of(value) in self.values
        # APIs answer a success with "error": false, 0 or "0" too, and an error with a whole object.
        return bool(value) and value not in ("0", "false")


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads answers as the settings say."""

    success: Collection[int]
    rules: Sequence[Rule]
    split: str
    id: wire.Pointer | None
    code: wire.Pointer | None
    parts: wire.Pointer | None
    price: wire.Pointer | None
    currency: wire.Pointer | None

    def receipt(self, reply: wire.Reply) -> Receipt:
        """Return the receipt of a message that was taken; raise what any other answer means.

        A success without the provider's id, where the settings name its place, is Uncertain.
        """
        content = self._parts_of(reply.body) if self.split else reply.json()
        code = wire.safe_code(_at(content, self.code))
        rule = next((rule for rule in self.rules if rule.holds(reply.status, content)), None)
        if rule is not None and rule.means == "accepted":
            return Receipt()
        if rule is not None:
            raise _error(rule, reply, code or wire.safe_code(_at(content, rule.at)) or str(reply.status))
        wire.expect_success(reply, code=code, accepted=self.success)
        provider_id = wire.safe_id(text_of(_at(content, self.id)))
        if self.id is not None and not provider_id:
            raise Uncertain(
                "the answer has no id at answer.id: check base_url and the table", code=str(reply.status)
            )
        return Receipt(
            provider_id,
            parts=_parts(_at(content, self.parts)),
            price=_price(_at(content, self.price)),
            currency=_currency(_at(content, self.currency)),
        )

    def _parts_of(self, body: bytes) -> list[str]:
        """Return the parts of an answer that is a text, without the spaces around each."""
        return [part.strip() for part in body.decode("utf-8", "replace").strip().split(self.split)]


def make_reader(answer: Answer, add_fault: AddFault) -> AnswerReader:
    """Return a reader; adds a fault for each status that is none, and for each pointer that is none."""

    def pointer(key: str, text: str) -> wire.Pointer | None:
        try:
            tokens = wire.parse_pointer(text) if text else None
        except ValueError as error:
            add_fault(key, str(error))
            return None
        if answer.split and tokens and not (len(tokens) == 1 and tokens[0].isdecimal()):
            add_fault(key, "must be the number of a part, such as /1, because answer.split is set")
        return tokens

    rules = []
    for number, rule in enumerate(answer.errors, start=1):
        key = f"answer.errors[{number}]"
        if not rule.status and not rule.at:
            add_fault(key, "holds for every answer: set status, or at and values")
        if rule.values and not rule.at:
            add_fault(f"{key}.values", "needs at, the JSON pointer to the value")
        statuses = make_statuses([rule.status] if rule.status else [], f"{key}.status", add_fault)
        rules.append(
            Rule(rule.means, statuses, pointer(f"{key}.at", rule.at), {text_of(one) for one in rule.values})
        )
    names = ("id", "code", "parts", "price", "currency")
    return AnswerReader(
        success=make_statuses(answer.success, "answer.success", add_fault),
        rules=rules,
        split=answer.split,
        **{name: pointer(f"answer.{name}", getattr(answer, name)) for name in names},
    )


def make_statuses(listed: Sequence[int | str], key: str, add_fault: AddFault) -> frozenset[int]:
    """Return HTTP statuses and classes of them as a set; adds a fault for what is none."""
    found: set[int] = set()
    for one in map(str, listed):
        if not _STATUS.fullmatch(one):
            add_fault(key, 'must be HTTP statuses such as 202 or "2xx"')
        elif one.endswith("xx"):
            found.update(range(int(one[0]) * 100, int(one[0]) * 100 + 100))
        else:
            found.add(int(one))
    return frozenset(found)


def _error(rule: Rule, reply: wire.Reply, code: str) -> Rejected | Unavailable:
    match rule.means:
        case "unsubscribed":
            return Rejected("the user has opted out at the provider", code=code, status=Status.UNSUBSCRIBED)
        case "unavailable":
            wait = wire.retry_after(reply.headers)
            return Unavailable("the provider can't take the message now", code=code, retry_after=wait)
        case "misconfigured":
            problem = "the provider refuses the account or its settings: look its code up"
            return Unavailable(problem, code=code, misconfigured=True)
    return Rejected("the provider refused the message", code=code)


def _at(content: Any, pointer: wire.Pointer | None) -> Any:
    return None if pointer is None else wire.resolve(content, pointer)


def _parts(value: Any) -> int:
    text = text_of(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0


def _price(value: Any) -> Decimal | None:
    if isinstance(value, float) and value >= 0 and isfinite(value):
        return Decimal(repr(value))
    text = text_of(value)
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def _currency(value: Any) -> str:
    text = text_of(value).upper()
    return text if _CURRENCY.fullmatch(text) else ""
