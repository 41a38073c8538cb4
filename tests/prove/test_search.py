"""What the search of ``gatepost prove`` finds besides the spellings that the canary tests try: hashes, planted leaks."""

import base64
import hashlib
import sqlite3

import pytest

from gatepost.prove.canaries import Canaries
from gatepost.prove.places import LOG, STORE, Place
from gatepost.prove.plants import plant_all
from gatepost.prove.search import Needles

EMAIL, PHONE = "jabberwock.vorpal+tag@snicker-snack.example", "+447700900461"
NEEDLES = Needles({}, {"email": EMAIL, "number": PHONE})


def found(content: bytes) -> set[tuple[str, str]]:
    return {(hit.value, hit.spelling) for hit in NEEDLES.search(content)}


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "sha512", "blake2b"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("email", text) for text in (EMAIL, EMAIL.upper(), "jabberwock.vorpal+tag", f"mailto:{EMAIL}")),
        *(("number", text) for text in (PHONE, PHONE[1:], f"00{PHONE[1:]}", f"tel:{PHONE}")),
    ],
)
def test_a_plain_hash_is_found_in_hexadecimal_in_base64_and_as_bytes(kind, name, text):
    digest = hashlib.new(kind, text.encode()).digest()

    assert found(b"to " + digest.hex().encode()) == {(name, f"plain hash ({kind}), hexadecimal")}
    assert found(b"to " + digest.hex().upper()[:20].encode()) == {(name, f"plain hash ({kind}), hexadecimal")}
    assert (name, f"plain hash ({kind}), base64") in found(b'id="' + base64.b64encode(digest) + b'"')
    assert (name, f"plain hash ({kind}), bytes") in found(b"\x00" * 20 + digest + b"\x00\x00")


def test_a_hash_with_a_key_and_a_hash_of_something_else_are_not_found():
    keyed = hashlib.blake2b(EMAIL.encode(), key=b"a key of the gateway").hexdigest()

    assert found(keyed.encode() + b" " + hashlib.sha256(b"another@x.example").hexdigest().encode()) == set()


@pytest.fixture
def store(tmp_path):
    file = tmp_path / "gatepost.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE messages (id)")
    database.close()
    return file


def test_a_planted_leak_is_found_in_each_kind_of_place_and_the_store_is_left_alone(store):
    canaries = Canaries()
    person = canaries.add()
    before = store.read_bytes()
    places = [
        Place(LOG, "gatepost.log", b"a line\n"),
        Place(STORE, store.name, before),
        Place("pages", "", b""),
    ]

    plants = plant_all(places, store, person, canaries.needles({}))

    assert [(plant.place, plant.found) for plant in plants] == [
        (f"a copy of: {kind}", True) for kind in (LOG, STORE, "pages")
    ]
    assert store.read_bytes() == before
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_a_search_that_does_not_see_is_found_out(store):
    person = Canaries().add()

    plants = plant_all([Place(LOG, "", b""), Place(STORE, "", b"")], store, person, Needles({}))

    assert [plant.found for plant in plants] == [False, False]
