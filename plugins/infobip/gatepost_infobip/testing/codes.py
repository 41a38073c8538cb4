"""Infobip's statuses and errors, by their ids, as its page *Response status and error codes* lists them."""

from collections.abc import Mapping

GROUPS: Mapping[int, str] = {
    1: "PENDING",
    2: "UNDELIVERABLE",
    3: "DELIVERED",
    4: "EXPIRED",
    5: "REJECTED",
}

STATUSES: Mapping[str, tuple[int, int]] = {
    # name: group, id
    "PENDING_WAITING_DELIVERY": (1, 3),
    "PENDING_ENROUTE": (1, 7),
    "PENDING_ACCEPTED": (1, 26),
    "UNDELIVERABLE_REJECTED_OPERATOR": (2, 4),
    "UNDELIVERABLE_NOT_DELIVERED": (2, 9),
    "UNDELIVERABLE_NOT_SENT": (2, 31),
    "DELIVERED_TO_OPERATOR": (3, 2),
    "DELIVERED_TO_HANDSET": (3, 5),
    "EXPIRED_EXPIRED": (4, 15),
    "EXPIRED_DLR_UNKNOWN": (4, 29),
    "SIGNALS_BLOCKED": (4, 87),
    "REJECTED_NETWORK": (5, 6),
    "REJECTED_PREFIX_MISSING": (5, 8),
    "REJECTED_DND": (5, 10),
    "REJECTED_SOURCE": (5, 11),
    "REJECTED_NOT_ENOUGH_CREDITS": (5, 12),
    "REJECTED_SENDER": (5, 13),
    "REJECTED_DESTINATION_BLOCKLISTED": (5, 14),
    "REJECTED_PREPAID_PACKAGE_EXPIRED": (5, 17),
    "REJECTED_DESTINATION_NOT_REGISTERED": (5, 18),
    "REJECTED_ROUTE_NOT_AVAILABLE": (5, 19),
    "REJECTED_FLOODING_FILTER": (5, 20),
    "REJECTED_SYSTEM_ERROR": (5, 21),
    "REJECTED_DUPLICATE_MESSAGE_ID": (5, 23),
    "REJECTED_INVALID_UDH": (5, 24),
    "REJECTED_MESSAGE_TOO_LONG": (5, 25),
    "MISSING_TO": (5, 51),
    "REJECTED_DESTINATION": (5, 52),
    "UNDELIVERABLE_REJECTED_PLATFORM": (5, 100),
}
"""Those of messages; Infobip has others for calls, mails and push notifications."""

ERRORS: Mapping[int, tuple[str, bool]] = {
    # id: name, permanent
    0: ("NO_ERROR", False),
    1: ("EC_UNKNOWN_SUBSCRIBER", True),
    27: ("EC_ABSENT_SUBSCRIBER", False),
    573: ("EC_SC_BLOCKED_BY_END_USER", True),
    603: ("EC_CONTENT_BLOCKED", True),
    604: ("EC_BLOCKED_BY_CAMPAIGN_BLACKLIST", True),
    2050: ("EC_DEST_ADDRESS_BLACKLISTED", True),
    2052: ("EC_BLACKLISTED_DESTINATIONADDRESS", True),
    4098: ("EC_VP_EXPIRED", False),
    4099: ("EC_MONTHLY_LIMIT_REACHED", True),
    4131: ("EC_TEMPLATE_VARIABLE_EXCEEDED_MAX_LENGTH", True),
    4135: ("EC_PROMOTIONAL_TEMPLATE_USED_ON_OTHERS_HEADER", True),
    7002: ("EC_UNKNOWN_USER", True),
    7003: ("EC_BLOCKED_USER", True),
    7008: ("EC_INVALID_TEMPLATE_ARGS", True),
    7009: ("EC_INVALID_TEMPLATE", True),
    7030: ("EC_TEMPLATE_BLOCKED_BY_USER", True),
    7032: ("EC_FREQUENCY_CAPPING", True),
    7033: ("EC_MARKETING_OPT_OUT", True),
    7034: ("EC_SENDER_NOT_REGISTERED", True),
}
"""Some of the errors, those of which a report can be emulated; most have names like these, and the same form."""


def error_group(error: int) -> tuple[int, str]:
    """Return the group of an error, as a report on a message of its channel states it."""
    if error == 0:
        return 0, "OK"
    return (1, "HANDSET_ERRORS") if error < 300 or error in {573, 581} else (2, "USER_ERRORS")
