"""What a message is on the wire, as the emulated message centre reads it with code of its own."""

import re

import pytest

from gatepost.errors import Rejected
from gatepost.model import Secret
from gatepost.sms_parts import count_parts, is_gsm7

EXTENSION = "^{}\\[~]|€\f"


async def sent(plugin, provider, message):
    """Return the submissions that a send makes, and its receipt."""
    before = len(provider.submissions)
    receipt = await plugin.send_sms(message)
    return provider.submissions[before:], receipt


@pytest.mark.parametrize(
    ("text", "data_coding", "parts"),
    [
        ("Hello", 0, 1),
        ("a" * 160, 0, 1),
        ("a" * 161, 0, 2),
        ("€" * 80, 0, 1),
        ("€" * 80 + "a", 0, 2),
        ("a" * 152 + "€" + "b" * 20, 0, 2),
        ("a" * 153 * 4, 0, 4),
        ("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà" + EXTENSION, 0, 1),
        ("ç", 8, 1),
        ("’" * 70, 8, 1),
        ("’" * 71, 8, 2),
        ("’" * 66 + "🎲" + "b" * 20, 8, 2),
        ("🎲" * 35, 8, 1),
        ("🎲" * 36, 8, 2),
        ("", 0, 1),
        ("\ud83c", 8, 1),
    ],
)
async def test_a_text_arrives_whole(plugin, provider, sms, text, data_coding, parts):
    submissions, _ = await sent(plugin, provider, sms(text))
    assert provider.received()[-1].text == text
    assert {one.data_coding for one in submissions} == {data_coding}
    # The core counts as many.
    assert (len(submissions), count_parts(text)) == (parts, parts)
    if parts > 1:
        assert [one.part[1:] for one in submissions] == [(parts, number + 1) for number in range(parts)]
        assert len({one.part[0] for one in submissions}) == 1
        # Each part can be read alone: no character is divided.
        assert "".join(one.text for one in submissions) == text


async def test_the_gsm_alphabet_is_the_gateways(plugin, provider, sms):
    alphabet = "".join(filter(is_gsm7, map(chr, range(0x3000))))
    assert len(alphabet) == 127 + len(EXTENSION)
    submissions, _ = await sent(plugin, provider, sms(alphabet))
    assert {one.data_coding for one in submissions} == {0}
    assert provider.received()[-1].text == alphabet


async def test_the_parts_of_two_texts_differ_in_their_reference(plugin, provider, sms):
    first, _ = await sent(plugin, provider, sms("a" * 200))
    second, _ = await sent(plugin, provider, sms("b" * 200))
    assert first[0].part[0] != second[0].part[0]


async def test_only_the_last_part_asks_for_a_receipt_and_names_the_message(plugin, provider, sms):
    submissions, receipt = await sent(plugin, provider, sms("a" * 400))
    assert [one.wants_receipt for one in submissions] == [False, False, True]
    assert receipt.provider_id == provider.ids(submissions[-1].number)[0]


async def test_the_provider_divides_a_long_text_where_it_is_asked_to(running, provider, sms):
    async with running(long_texts="message_payload") as plugin:
        for text in ("a" * 400, "’" * 400):
            (submission,), _ = await sent(plugin, provider, sms(text))
            assert submission.is_payload
            assert submission.text == text
            assert submission.wants_receipt
        (submission,), _ = await sent(plugin, provider, sms("short"))
        assert not submission.is_payload


@pytest.mark.parametrize("text", ["a" * (153 * 255 + 1), "’" * (67 * 255 + 1), "a" * 1_000_000])
@pytest.mark.parametrize("long_texts", ["udh", "message_payload"])
async def test_a_text_of_more_than_255_parts_is_rejected(running, provider, sms, text, long_texts):
    async with running(long_texts=long_texts) as plugin:
        with pytest.raises(Rejected) as refused:
            await plugin.send_sms(sms(text))
    assert refused.value.code == "ESME_RINVMSGLEN"
    assert not provider.attempts


@pytest.mark.parametrize(
    ("sender", "source", "source_type"),
    [
        ("Amazing", "Amazing", (5, 0)),
        ("Amazing Co.", "Amazing Co.", (5, 0)),
        ("+447700900999", "447700900999", (1, 1)),
        ("447700900999", "447700900999", (1, 1)),
        ("1234567", "1234567", (1, 1)),
        ("88222", "88222", (3, 0)),
        (None, "Amazing", (5, 0)),
    ],
)
async def test_ton_and_npi_follow_the_kind_of_sender(plugin, provider, sms, sender, source, source_type):
    (submission,), _ = await sent(plugin, provider, sms(sender=sender))
    assert (submission.source, submission.source_type) == (source, source_type)
    assert (submission.destination, submission.destination_type) == ("447700900123", (1, 1))


async def test_a_short_code_has_the_type_that_the_settings_give(running, provider, sms):
    async with running(short_code_type=[0, 1]) as plugin:
        with pytest.raises(Exception, match="RINVSRCTON"):
            await plugin.send_sms(sms(sender="88222"))


@pytest.mark.parametrize("sender", ["Amazing Casino", "Ämazing", "1" * 16, "a\nb", "Zoë"])
async def test_a_sender_that_smpp_cannot_carry_is_rejected(plugin, provider, sms, sender):
    with pytest.raises(Rejected) as refused:
        await plugin.send_sms(sms(sender=sender))
    assert refused.value.code == "ESME_RINVSRCADR"
    assert not provider.attempts


async def test_without_a_sender_it_is_rejected(running, sms):
    async with running(default_sender=None) as plugin:
        with pytest.raises(Rejected, match="default_sender"):
            await plugin.send_sms(sms(sender=None))


@pytest.mark.parametrize(
    "number", ["+123456", "+0447700900123", "+1234567890123456", "447700900123", "+44 7700"]
)
async def test_a_number_that_is_none_is_rejected(plugin, provider, sms, number):
    with pytest.raises(Rejected) as refused:
        await plugin.send_sms(sms(recipient=Secret(number)))
    assert refused.value.code == "ESME_RINVDSTADR"
    assert not re.search(r"\d{6}", str(refused.value))
    assert not provider.attempts


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(0.5, 60), (60.0, 60), (3599.9, 3599), (90_061.0, 90_061), (604_800.0, 604_800), (1e7, 604_800)],
)
async def test_the_lifetime_is_a_relative_time_of_a_minute_to_a_week(
    plugin, provider, sms, lifetime, seconds
):
    (submission,), _ = await sent(plugin, provider, sms(lifetime=lifetime))
    assert submission.validity == seconds


async def test_the_lifetime_can_be_left_out(running, provider, sms):
    async with running(validity=False) as plugin:
        (submission,), _ = await sent(plugin, provider, sms())
    assert submission.validity is None


async def test_our_id_goes_along_only_where_the_provider_has_a_parameter_for_it(running, provider, sms):
    async with running(reference_tag=None) as plugin:
        (submission,), _ = await sent(plugin, provider, sms())
        assert submission.reference == ""
    async with running() as plugin:
        (submission,), _ = await sent(plugin, provider, sms())
        assert submission.reference == sms().id
