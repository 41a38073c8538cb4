"""The tokens in links: read back with their keys alone, and for their kind of link alone."""

import base64
import string
from itertools import product
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gatepost.links.tokens import LinkKind, LinkTokens
from gatepost.model import Secret
from gatepost.outbox import new_id

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ALPHABET = string.ascii_letters + string.digits + "-_"
ids = st.uuids().map(str)
kinds = st.sampled_from(LinkKind)


def tokens(*keys):
    return LinkTokens([Secret(base64.b64encode(key).decode()) for key in keys])


ONE, ROTATED, OTHER = tokens(OLD), tokens(NEW, OLD), tokens(NEW)


@given(kinds, ids)
def test_a_token_is_read_while_its_key_is_listed(kind, message_id):
    token = ONE.make(kind, message_id)

    assert len(token) == 43
    assert set(token) <= set(ALPHABET)
    assert ONE.message_id(kind, token) == ROTATED.message_id(kind, token) == message_id
    assert OTHER.message_id(kind, token) == tokens().message_id(kind, token) == ""


@given(ids)
def test_a_token_is_of_no_use_for_another_kind_of_link(message_id):
    for kind, other in product(LinkKind, repeat=2):
        assert (ONE.message_id(other, ONE.make(kind, message_id)) == message_id) is (kind is other)


@given(kinds, ids)
def test_a_message_always_has_the_same_token_and_it_holds_nothing_of_the_id(kind, message_id):
    token = ONE.make(kind, message_id)

    assert token == tokens(OLD).make(kind, message_id)
    sealed = base64.urlsafe_b64decode(token + "=")
    assert UUID(message_id).bytes[:4] not in sealed
    assert ROTATED.make(kind, message_id) != token


@given(kinds, ids, st.integers(0, 42), st.sampled_from(ALPHABET))
def test_a_token_with_another_character_is_none(kind, message_id, position, character):
    token = ONE.make(kind, message_id)
    changed = token[:position] + character + token[position + 1 :]

    assert ONE.message_id(kind, changed) == (message_id if changed == token else "")


def test_the_bits_of_the_last_character_that_say_nothing_must_be_zero():
    token = ONE.make(LinkKind.OPEN, str(UUID(int=7)))
    others = [token[:-1] + character for character in ALPHABET if character != token[-1]]

    assert {ONE.message_id(LinkKind.OPEN, other) for other in others} == {""}


@given(kinds, ids, st.integers(0, 42), st.text(max_size=3))
def test_a_token_that_is_cut_or_longer_is_none(kind, message_id, length, more):
    token = ONE.make(kind, message_id)

    assert ONE.message_id(kind, token[:length]) == ""
    assert ONE.message_id(kind, token + more) == ("" if more else message_id)


@given(kinds, st.text() | st.text(ALPHABET, min_size=43, max_size=43))
def test_any_other_text_is_none(kind, text):
    assert ONE.message_id(kind, text) == ""


def test_the_ids_of_messages_are_uuids():
    message_id = new_id()

    assert ONE.message_id(LinkKind.OPEN, ONE.make(LinkKind.OPEN, message_id)) == message_id
