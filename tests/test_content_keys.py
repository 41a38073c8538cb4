"""The encryption of stored contents: what is read back, what is refused, and the form of the stored bytes."""

import base64
from hashlib import blake2b

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from gatepost import content_keys
from gatepost.content import EmailContent, SmsContent, decode_content, encode_content
from gatepost.content_keys import ContentKeyMissing, ContentKeys, key_faults, key_of
from gatepost.model import Channel, Mailbox, Secret

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ID, OTHER_ID = "01a21e85-161e-7bf5-8c4d-ba517c85bdae", "01a21e85-161e-7bf5-8c4d-ba517c85bdaf"


def keys(*secrets):
    return ContentKeys([Secret(base64.b64encode(one).decode()) for one in secrets])


@given(st.binary(), st.text(max_size=40))
def test_any_content_is_read_back_while_its_key_is_listed(content, message_id):
    stored = keys(OLD).encrypt(message_id, content)

    assert keys(OLD).decrypt(message_id, stored) == content
    assert keys(NEW, OLD).decrypt(message_id, stored) == content


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from([*Channel]), st.data())
def test_every_changed_bit_is_refused(subject, text, channel, data):
    email = EmailContent(sender=Mailbox("a@b.example"), subject=subject, html=text)
    content = encode_content(email if channel is Channel.EMAIL else SmsContent(text=text))
    stored = keys(OLD).encrypt(ID, content)
    bit = data.draw(st.integers(0, 8 * len(stored) - 1))
    changed = bytearray(stored)
    changed[bit // 8] ^= 1 << bit % 8

    with pytest.raises((ValueError, ContentKeyMissing)):
        decode_content(channel, keys(OLD).decrypt(ID, bytes(changed)))


@given(st.binary(max_size=100), st.data())
def test_what_is_cut_off_is_refused(content, data):
    stored = keys(OLD).encrypt(ID, content)
    cut = stored[: data.draw(st.integers(1, len(stored) - 1))]

    with pytest.raises((ValueError, ContentKeyMissing)):
        keys(OLD).decrypt(ID, cut)


def test_a_content_is_refused_as_that_of_another_message():
    with pytest.raises(ValueError, match="not the content that was stored for this message"):
        keys(OLD).decrypt(OTHER_ID, keys(OLD).encrypt(ID, b"content"))


def test_without_a_key_nothing_is_encrypted_and_what_was_stored_so_stays_readable():
    assert keys().encrypt(ID, b"content") == b"content"
    assert keys(NEW).decrypt(ID, b"content") == b"content"


@pytest.mark.parametrize("listed", [(), (NEW,)])
def test_a_missing_key_is_named_by_its_id(listed):
    stored = keys(OLD).encrypt(ID, b"content")

    with pytest.raises(ContentKeyMissing) as raised:
        keys(*listed).decrypt(ID, stored)

    assert raised.value.key == keys(OLD).ids[0] == key_of(stored)
    assert f"the key {raised.value.key}, which store.content_keys does not have" in str(raised.value)


def test_the_form_of_the_stored_bytes():
    """Written down a second time: what is in a store must be readable by every later version."""
    stored = keys(OLD).encrypt(ID, b"content")

    mark, key, salt, nonce, rest = stored[:1], stored[1:5], stored[5:21], stored[21:33], stored[33:]
    assert mark == b"E"
    assert key == blake2b(key=OLD, person=b"gatepost key id", digest_size=4).digest()
    derived = blake2b(key=OLD, salt=salt, person=b"gatepost content", digest_size=32).digest()
    assert AESGCM(derived).decrypt(nonce, rest, ID.encode()) == b"content"
    assert len(rest) == len(b"content") + 16


def test_each_process_has_a_derived_key_of_its_own_and_takes_another_one_in_time(monkeypatch):
    monkeypatch.setattr(content_keys, "RENEWAL", 3)
    one = keys(OLD)

    stored = [one.encrypt(ID, b"content") for _ in range(7)]

    assert len({text[21:33] for text in stored}) == 7
    salts = [text[5:21] for text in stored]
    assert salts[0] == salts[1] == salts[2] != salts[3] == salts[4] == salts[5] != salts[6]
    assert keys(OLD).encrypt(ID, b"content")[5:21] not in salts
    assert {keys(OLD).decrypt(ID, text) for text in stored} == {b"content"}


def test_a_stored_fingerprint_tells_nothing_without_the_key():
    fingerprint = bytes(32)

    assert fingerprint not in keys(OLD).fingerprint(fingerprint)
    assert keys(OLD).fingerprint(fingerprint)[4:] != keys(NEW).fingerprint(fingerprint)[4:]
    assert keys().fingerprint(fingerprint) == fingerprint


@pytest.mark.parametrize(
    ("stored_with", "listed"),
    [((), ()), ((), (NEW,)), ((OLD,), (OLD,)), ((OLD,), (NEW, OLD))],
)
def test_a_repeat_is_known_from_another_content_while_the_key_is_listed(stored_with, listed):
    stored = keys(*stored_with).fingerprint(bytes(32))

    assert keys(*listed).is_repeat(stored, bytes(32))
    assert not keys(*listed).is_repeat(stored, b"\1" * 32)


@pytest.mark.parametrize("listed", [(), (NEW,)])
def test_without_its_key_the_uid_alone_tells_a_repeat(listed):
    assert keys(*listed).is_repeat(keys(OLD).fingerprint(bytes(32)), bytes(32))


@pytest.mark.parametrize(
    ("secrets", "problems"),
    [
        ([], []),
        ([base64.b64encode(OLD).decode(), NEW.hex()], []),
        ([NEW.hex().upper()], []),
        (["tooshort"], ["entry 1 must be 32 random bytes"]),
        ([base64.b64encode(OLD[:31]).decode()], ["entry 1 must be 32 random bytes"]),
        ([base64.b64encode(OLD).decode() + "\n"], ["entry 1 must be 32 random bytes"]),
        ([OLD.hex()[:-1] + "x"], ["entry 1 must be 32 random bytes"]),
        ([OLD.hex(), "ä" * 44], ["entry 2 must be 32 random bytes"]),
        ([""], ["entry 1 must be 32 random bytes"]),
        ([OLD.hex(), NEW.hex(), base64.b64encode(OLD).decode()], ["entry 3 is the same key as an entry before"]),
    ],
)  # fmt: skip
def test_keys_that_can_not_be_used_are_faults(secrets, problems):
    found = list(key_faults("store.content_keys", [Secret(one) for one in secrets]))

    assert [fault.key for fault in found] == ["store.content_keys"] * len(problems)
    assert all(fault.problem.startswith(text) for fault, text in zip(found, problems, strict=True))


def test_where_the_library_is_missing_that_is_a_fault(monkeypatch):
    monkeypatch.setattr(content_keys, "find_spec", lambda _name: None)

    assert [one.problem for one in key_faults("store.content_keys", [Secret(OLD.hex())])] == [
        "encryption needs cryptography: from your checkout, pip install '.[encryption]'"
    ]
    assert list(key_faults("store.content_keys", [])) == []
