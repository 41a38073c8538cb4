"""What each command_status means for a message or a bind (SMPP 3.4, table 5-2)."""

from collections.abc import Mapping

from gatepost.errors import Rejected, SendError, Unavailable

# fmt: off
NAMES: Mapping[int, str] = {
    0x01: "RINVMSGLEN", 0x02: "RINVCMDLEN", 0x03: "RINVCMDID", 0x04: "RINVBNDSTS", 0x05: "RALYBND",
    0x06: "RINVPRTFLG", 0x07: "RINVREGDLVFLG", 0x08: "RSYSERR", 0x0A: "RINVSRCADR", 0x0B: "RINVDSTADR",
    0x0C: "RINVMSGID", 0x0D: "RBINDFAIL", 0x0E: "RINVPASWD", 0x0F: "RINVSYSID", 0x11: "RCANCELFAIL",
    0x13: "RREPLACEFAIL", 0x14: "RMSGQFUL", 0x15: "RINVSERTYP", 0x33: "RINVNUMDESTS", 0x34: "RINVDLNAME",
    0x40: "RINVDESTFLAG", 0x42: "RINVSUBREP", 0x43: "RINVESMCLASS", 0x44: "RCNTSUBDL",
    0x45: "RSUBMITFAIL", 0x48: "RINVSRCTON", 0x49: "RINVSRCNPI", 0x50: "RINVDSTTON", 0x51: "RINVDSTNPI",
    0x53: "RINVSYSTYP", 0x54: "RINVREPFLAG", 0x55: "RINVNUMMSGS", 0x58: "RTHROTTLED", 0x61: "RINVSCHED",
    0x62: "RINVEXPIRY", 0x63: "RINVDFTMSGID", 0x64: "RX_T_APPN", 0x65: "RX_P_APPN", 0x66: "RX_R_APPN",
    0x67: "RQUERYFAIL", 0xC0: "RINVOPTPARSTREAM", 0xC1: "ROPTPARNOTALLWD", 0xC2: "RINVPARLEN",
    0xC3: "RMISSINGOPTPARAM", 0xC4: "RINVOPTPARAMVAL", 0xFE: "RDELIVERYFAILURE", 0xFF: "RUNKNOWNERR",
}
# fmt: on
"""Every status of the table, without the prefix ``ESME_``."""
_REJECTED = frozenset({0x01, 0x0B, 0x65, 0x66, 0xFE})
_BUSY = frozenset({0x05, 0x08, 0x14, 0x58, 0x64, 0xFF})
_ACCOUNT: Mapping[int, str] = {
    **dict.fromkeys((0x02, 0x03), "the server does not take such requests: check host and port"),
    **dict.fromkeys((0x04, 0x07, 0x15, 0x50, 0x51), "ask the provider to let the account send this way"),
    **dict.fromkeys(
        (0x0D, 0x0E, 0x0F), "check system_id, password and the addresses that the provider lets in"
    ),
    0x53: "check system_type",
}
_SOME_MESSAGES: Mapping[int, str] = {
    0x0A: "let the provider register the sender",
    **dict.fromkeys((0x43, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4), "check long_texts and reference_tag"),
    **dict.fromkeys((0x48, 0x49), "check short_code_type"),
    0x62: "set validity = false",
}


def refusal(status: int) -> SendError:
    """Return the error for an answer to a submit_sm."""
    name = code_of(status)
    return (
        Rejected(f"the provider answered {name}", code=name) if status in _REJECTED else unavailable(status)
    )


def unavailable(status: int, *, of_bind: bool = False) -> Unavailable:
    """Return the error for an answer that refuses no message for good, such as one to a bind."""
    hint = _ACCOUNT.get(status) or _SOME_MESSAGES.get(status)
    return Unavailable(
        f"the provider answered {code_of(status)}" + (f": {hint}" if hint else ""),
        code=code_of(status),
        misconfigured=hint is not None,
        content_only=not of_bind and status in _SOME_MESSAGES,
        # What the specification does not define, or not for a submit_sm, may be about this message alone.
        message_only=not of_bind and hint is None and status not in _BUSY,
        # ESME_RTHROTTLED: providers count messages by the second.
        retry_after=1.0 if status == 0x58 else None,
    )


def code_of(status: int) -> str:
    """Return the name of a status, or its number where SMPP 3.4 has none for it."""
    return f"ESME_{NAMES[status]}" if status in NAMES else f"0x{status:08X}"
