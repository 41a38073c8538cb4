"""Every command_status of SMPP 3.4 (table 5-2): what it means for a message, and for a bind."""

import pytest

from gatepost.errors import Rejected, Unavailable
from gatepost_smpp.statuses import NAMES

REJECTED = "RINVMSGLEN RINVDSTADR RX_P_APPN RX_R_APPN RDELIVERYFAILURE"
MISCONFIGURED = (
    "RINVCMDLEN RINVCMDID RINVBNDSTS RINVREGDLVFLG RBINDFAIL RINVPASWD RINVSYSID RINVSERTYP RINVDSTTON RINVDSTNPI "
    "RINVSYSTYP"
)
SOME = (
    "RINVSRCADR RINVESMCLASS RINVSRCTON RINVSRCNPI RINVEXPIRY RINVOPTPARSTREAM ROPTPARNOTALLWD RINVPARLEN RMISSINGOPTPARAM "
    "RINVOPTPARAMVAL"
)
BUSY = "RALYBND RSYSERR RMSGQFUL RX_T_APPN RUNKNOWNERR"
ONE = (
    "RINVPRTFLG RINVMSGID RCANCELFAIL RREPLACEFAIL RINVNUMDESTS RINVDLNAME RINVDESTFLAG RINVSUBREP RCNTSUBDL "
    "RSUBMITFAIL RINVREPFLAG RINVNUMMSGS RINVSCHED RINVDFTMSGID RQUERYFAIL"
)
# The values of the specification.
STATUSES = {
    "RINVMSGLEN": 0x01, "RINVCMDLEN": 0x02, "RINVCMDID": 0x03, "RINVBNDSTS": 0x04, "RALYBND": 0x05,
    "RINVPRTFLG": 0x06, "RINVREGDLVFLG": 0x07, "RSYSERR": 0x08, "RINVSRCADR": 0x0A, "RINVDSTADR": 0x0B,
    "RINVMSGID": 0x0C, "RBINDFAIL": 0x0D, "RINVPASWD": 0x0E, "RINVSYSID": 0x0F, "RCANCELFAIL": 0x11,
    "RREPLACEFAIL": 0x13, "RMSGQFUL": 0x14, "RINVSERTYP": 0x15, "RINVNUMDESTS": 0x33, "RINVDLNAME": 0x34,
    "RINVDESTFLAG": 0x40, "RINVSUBREP": 0x42, "RINVESMCLASS": 0x43, "RCNTSUBDL": 0x44, "RSUBMITFAIL": 0x45,
    "RINVSRCTON": 0x48, "RINVSRCNPI": 0x49, "RINVDSTTON": 0x50, "RINVDSTNPI": 0x51, "RINVSYSTYP": 0x53,
    "RINVREPFLAG": 0x54, "RINVNUMMSGS": 0x55, "RTHROTTLED": 0x58, "RINVSCHED": 0x61, "RINVEXPIRY": 0x62,
    "RINVDFTMSGID": 0x63, "RX_T_APPN": 0x64, "RX_P_APPN": 0x65, "RX_R_APPN": 0x66, "RQUERYFAIL": 0x67,
    "RINVOPTPARSTREAM": 0xC0, "ROPTPARNOTALLWD": 0xC1, "RINVPARLEN": 0xC2, "RMISSINGOPTPARAM": 0xC3,
    "RINVOPTPARAMVAL": 0xC4, "RDELIVERYFAILURE": 0xFE, "RUNKNOWNERR": 0xFF,
}  # fmt: skip


# What the error is, and which of its marks are set.
KINDS = {
    **dict.fromkeys(REJECTED.split(), (Rejected, set())),
    **dict.fromkeys(MISCONFIGURED.split(), (Unavailable, {"misconfigured"})),
    **dict.fromkeys(SOME.split(), (Unavailable, {"misconfigured", "content_only"})),
    **dict.fromkeys(BUSY.split(), (Unavailable, set())),
    **dict.fromkeys(ONE.split(), (Unavailable, {"message_only"})),
    "RTHROTTLED": (Unavailable, {"retry_after"}),
}
MARKS = ("misconfigured", "content_only", "message_only", "retry_after")


def test_the_table_has_every_status_of_the_specification():
    assert {value: name for name, value in STATUSES.items()} == NAMES
    assert sorted(KINDS) == sorted(STATUSES)


@pytest.mark.parametrize("name", STATUSES)
async def test_an_answer_to_a_message(plugin, provider, sms, name):
    kind, marks = KINDS[name]
    provider.planned.append(STATUSES[name])
    with pytest.raises(kind) as refused:
        await plugin.send_sms(sms())
    error = refused.value
    assert error.code == f"ESME_{name}"
    assert f"ESME_{name}" in error.reason
    assert {mark for mark in MARKS if getattr(error, mark, None)} == marks
    assert (await plugin.send_sms(sms())).provider_id, "the next message is sent on the same bind"
    assert provider.connections == 1


@pytest.mark.parametrize("status", [0x09, 0x400, 0x4FF, 0xFFFFFFFF])
async def test_a_status_of_the_providers_own_is_tried_again_and_shown_as_a_number(
    plugin, provider, sms, status
):
    provider.planned.append(status)
    with pytest.raises(Unavailable) as refused:
        await plugin.send_sms(sms())
    assert (refused.value.code, refused.value.message_only) == (f"0x{status:08X}", True)


@pytest.mark.parametrize("name", [*STATUSES, "0x00000450"])
async def test_an_answer_to_the_bind_never_rejects_a_message(running, provider, sms, name):
    provider.bind_status = STATUSES.get(name, 0x450)
    async with running() as plugin:
        with pytest.raises(Unavailable) as refused:
            await plugin.send_sms(sms())
        with pytest.raises(Unavailable) as pinged:
            await plugin.ping()
    error = refused.value
    assert (error.message_only, error.content_only) == (False, False)
    assert error.misconfigured == ("misconfigured" in KINDS.get(name, (None, ()))[1])
    assert pinged.value.reason == error.reason
    assert not provider.attempts
