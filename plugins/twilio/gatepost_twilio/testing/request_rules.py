"""The rules of ``POST Messages.json``: its parameters, and the codes with which Twilio refuses them."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlsplit

_Rule = Callable[[str], bool]


def _matches(pattern: str) -> _Rule:
    return lambda value: re.fullmatch(pattern, value, re.ASCII) is not None


def _is_seconds(value: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", value, re.ASCII) is not None and 1 <= int(value) <= 36_000


def is_callback(url: str) -> bool:
    """Return whether Twilio takes a URL as StatusCallback: http or https, and a host name without underscores."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and "_" not in str(parts.hostname)
    except ValueError:
        return False


def _is_variables(value: str) -> bool:
    """Accept a JSON object of texts that are not empty, by WhatsApp's rules for each of them."""
    try:
        variables = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(variables, dict) and all(
        isinstance(item, str)
        and item.strip()
        and len(item) <= 1_600
        and not re.search(r"[\n\r\t]| {5}", item)
        for item in variables.values()
    )


_BOOLEAN = _matches("true|false")
_SENDER = r"\+[1-9][0-9]{1,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}|(whatsapp|messenger):.{1,255}"

PARAMETERS: Mapping[str, tuple[int, _Rule]] = {
    "To": (21211, _matches(r"(whatsapp:)?\+[1-9][0-9]{6,14}")),
    "From": (21212, _matches(_SENDER)),
    "MessagingServiceSid": (21705, _matches("MG[0-9a-fA-F]{32}")),
    "Body": (21617, lambda value: len(value) <= 1_600),
    "MediaUrl": (21620, is_callback),
    "ContentSid": (21655, _matches("HX[0-9a-fA-F]{32}")),
    "ContentVariables": (21656, _is_variables),
    "StatusCallback": (21609, is_callback),
    "ApplicationSid": (21218, _matches("AP[0-9a-fA-F]{32}")),
    "ValidityPeriod": (21624, _is_seconds),
    "MaxPrice": (21627, _matches(r"[0-9]+(\.[0-9]+)?")),
    "ProvideFeedback": (20001, _BOOLEAN),
    "Attempt": (20001, _matches("[0-9]{1,3}")),
    "ForceDelivery": (20001, _BOOLEAN),
    "ContentRetention": (30029, _matches("retain|discard")),
    "AddressRetention": (30030, _matches("retain|obfuscate")),
    "SmartEncoded": (20001, _BOOLEAN),
    "PersistentAction": (20001, _matches(".{1,1000}")),
    "TrafficType": (20001, _matches("free")),
    "ShortenUrls": (20001, _BOOLEAN),
    "ScheduleType": (35126, _matches("fixed")),
    "SendAt": (35114, _matches(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")),
    "SendAsMms": (20001, _BOOLEAN),
    "RiskCheck": (20001, _matches("enable|disable")),
    "FallbackFrom": (21212, _matches(_SENDER)),
}
"""Every parameter, with the code for a wrong value and the rule for a good one."""

_LISTS: Collection[str] = {"MediaUrl", "PersistentAction"}

# The numbers that Twilio reserves for tests, each with the code that it has there.
_TEST_RECIPIENTS: Mapping[str, int] = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
_TEST_SENDERS: Mapping[str, int] = {"+15005550001": 21212, "+15005550007": 21606, "+15005550008": 21611}


def refusal_code(pairs: Sequence[tuple[str, str]], templates: Collection[str]) -> int:
    """Return Twilio's code for the first thing that is wrong with a request; 0 where all is well."""
    form = dict(pairs)
    names = [name for name, _ in pairs if name not in _LISTS]
    if form.keys() - PARAMETERS.keys() or len(names) != len(set(names)):
        return 20001
    missing = [
        (21604, "To" in form),
        (21603, "From" in form or "MessagingServiceSid" in form),
        (21654, "ContentVariables" not in form or "ContentSid" in form),
        (21619, bool(form.get("Body", "").strip()) or "MediaUrl" in form or "ContentSid" in form),
    ]
    wrong = [(PARAMETERS[name][0], PARAMETERS[name][1](value)) for name, value in pairs]
    if code := next((code for code, is_met in [*missing, *wrong] if not is_met), 0):
        return code
    recipient, sender = form["To"], form.get("From", "")
    if sender and recipient.startswith("whatsapp:") != sender.startswith("whatsapp:"):
        return 21910
    if "ContentSid" in form and form["ContentSid"] not in templates:
        return 21655
    if recipient.startswith("whatsapp:") and "ContentSid" not in form:
        # Nobody has written to this sender, so there is no conversation.
        return 63016
    return _TEST_RECIPIENTS.get(recipient, 0) or _TEST_SENDERS.get(sender, 0)
