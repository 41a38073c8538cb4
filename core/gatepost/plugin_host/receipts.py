"""Copies of Receipts: what a plugin returns from a send, without what is wrong in it.

A wrong field never makes the Receipt worthless: the provider has the message.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from gatepost.model import Receipt, Secret
from gatepost.observe import redaction
from gatepost.plugin_host import sanitize

MAX_PARTS = 255
"""Parts of a text message: the largest number that the header of a part can count."""

MAX_PRICE = 1_000_000
PRICE_DECIMALS = 6

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
# Digits and exponent up to which a price is written out to look at it; a Decimal may have a million of them.
_MAX_DIGITS = 40


class CheckedReceipt(NamedTuple):
    """A copy of a Receipt, and what was wrong with the plugin's."""

    receipt: Receipt
    problems: Sequence[str]


def copy_receipt(receipt: Receipt, recipient: Secret) -> CheckedReceipt:
    """Copy a Receipt without its invalid fields, and without an id that holds the recipient."""
    problems: list[str] = []
    raw_id: object = receipt.provider_id
    provider_id = sanitize.clean_id(raw_id)
    if not provider_id and not (isinstance(raw_id, str) and not len(raw_id)):
        problems.append(
            f"a provider_id that is not a printable text of at most {sanitize.MAX_ID_LENGTH} characters"
        )
    elif redaction.contains(provider_id, recipient):
        problems.append("a provider_id that holds the recipient")
        provider_id = ""
    parts, price, currency = _parts(receipt.parts), _price(receipt.price), _currency(receipt.currency)
    if parts is None:
        problems.append(f"parts that are not a whole number from 0 to {MAX_PARTS}")
    if price is None and receipt.price is not None:
        problems.append(
            f"a price that is not a Decimal from 0 to {MAX_PRICE:,} with at most {PRICE_DECIMALS} decimals"
        )
    if currency is None:
        problems.append("a currency that is not three capital letters")
    return CheckedReceipt(Receipt(provider_id, parts or 0, price, currency or ""), problems)


def _parts(parts: object) -> int | None:
    return parts if type(parts) is int and 0 <= parts <= MAX_PARTS else None


def _price(price: object) -> Decimal | None:
    """Return the price without trailing zeros; None where it is invalid or none.

    The plugin's decimal context is in force here, so nothing is computed: a computation would round.
    """
    if type(price) is not Decimal or not price.is_finite() or price.is_signed():
        return None
    digits, exponent = price.as_tuple()[1:]
    assert isinstance(exponent, int)
    if len(digits) > _MAX_DIGITS or abs(exponent) > _MAX_DIGITS:
        return None
    whole, _, decimals = f"{price:f}".partition(".")
    decimals = decimals.rstrip("0")
    if len(decimals) > PRICE_DECIMALS or int(whole) > MAX_PRICE or (int(whole) == MAX_PRICE and decimals):
        return None
    return Decimal(f"{whole}.{decimals}" if decimals else whole)


def _currency(currency: object) -> str | None:
    if type(currency) is not str:
        return None
    return currency if not currency or _CURRENCY.fullmatch(currency) else None
