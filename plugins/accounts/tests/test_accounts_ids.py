"""No id can leave its place in a request."""

from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatepost_accounts.requests import MAX_URL, USER, USERS, make_template


def template(url, body=None, placeholder=USER):
    faults = []
    method = "POST" if body else "GET"
    built = make_template(placeholder, url, method, body, "url", lambda *fault: faults.append(fault))
    assert faults == []
    return built


PATH = template("https://accounts.example/v1/users/{ext_user_id}/contact?brand=a")
QUERY = template("https://accounts.example?id={ext_user_id}&brand=a")
BODY = template("https://accounts.example/graphql", {"query": "{ user { id } }", "variables": [USER]})

PATH_AND_QUERY = template("https://accounts.example/users/{ext_user_id}?id={ext_user_id}")

IDS = st.text(min_size=1, max_size=512) | st.text("./\\;%2eEfF?#&=+ a\0", min_size=1, max_size=12)


def is_half(char):
    """Return whether it is half a character, so that its text can't be sent."""
    return "\ud800" <= char <= "\udfff"


@given(IDS)
@example("..")
@example("a%2F..")
@example("\ud800")
def test_in_a_path_an_id_is_a_part_of_one_segment(one):
    prepared = PATH.fill(one)
    if prepared is None:
        # It could lead to another resource, or is no text.
        assert {"/", "\\"} & set(one) or {".", ".."} & set(one.split(";")) or any(map(is_half, one))
        return
    path, mark, query = prepared.path.partition("?")
    assert (mark, query) == ("?", "brand=a")
    assert path.isascii()
    empty, version, users, segment, contact = path.split("/")
    assert (empty, version, users, contact) == ("", "v1", "users", "contact")
    assert unquote(segment, errors="strict") == one
    # Many servers decode a path before they look for slashes and dots, and cut a segment at a semicolon.
    assert not {"/", "\\"} & set(unquote(segment))
    assert unquote(segment).partition(";")[0] not in {".", ".."}
    assert not set(segment) & set(";?#&=+,:@/\\ ")


@given(IDS)
@example("..")
@example("a&brand=b#")
def test_in_a_query_an_id_is_one_value(one):
    prepared = QUERY.fill(one)
    if prepared is not None:
        path, _, query = prepared.path.partition("?")
        first, second = query.split("&")
        assert (path, second) == ("/", "brand=a")
        assert unquote(first.removeprefix("id="), errors="strict") == one
    else:
        assert any(map(is_half, one))


@pytest.mark.parametrize("one", ["17/", "17/referrer", "/17", "17\\referrer"])
def test_an_id_with_a_slash_is_in_no_path(one):
    assert PATH.fill(one) is None
    assert PATH_AND_QUERY.fill(one) is None
    assert unquote(QUERY.fill(one).path) == f"/?id={one}&brand=a"
    assert msgspec.json.decode(BODY.fill(one).body)["variables"] == [one]


def test_on_a_page_with_the_ids_in_its_path_is_no_id_with_a_slash():
    page = template("https://accounts.example/users/{ext_user_ids}", placeholder=USERS)
    assert list(page.batches(["a", "17/referrer", "b"], 100)) == [["a", "b"]]


@given(IDS)
@example('"}, "admin": true, {"')
@example("{ext_user_id}")
def test_in_a_body_an_id_is_one_text(one):
    prepared = BODY.fill(one)
    if prepared is not None:
        assert prepared.path == "/graphql"
        assert msgspec.json.decode(prepared.body) == {"query": "{ user { id } }", "variables": [one]}


@given(st.lists(IDS, max_size=100, unique=True), st.integers(2, 100))
def test_every_id_that_a_page_can_hold_is_on_one_page(ids, size):
    page = template("https://accounts.example/users?ids={ext_user_ids}", placeholder=USERS)
    batches = list(page.batches(ids, size))
    listed = [one for batch in batches for one in batch]
    assert listed == [one for one in ids if page.fill(one) is not None and "," not in one]
    for batch in batches:
        assert len(batch) <= size
        path = page.fill(*batch).path
        assert len(batch) == 1 or len(path) < MAX_URL + 100
        texts = path.partition("=")[2].split(",")
        assert [unquote(text, errors="strict") for text in texts] == list(batch)


def test_a_url_of_ids_is_never_too_long_for_a_server_and_never_ambiguous():
    page = template("https://accounts.example/users?ids={ext_user_ids}", placeholder=USERS)
    ids = [f"{number}{'x' * 500}" for number in range(100)]
    batches = list(page.batches([*ids, "a,b"], 100))
    assert [one for batch in batches for one in batch] == ids
    assert all(len(page.fill(*batch).path) <= MAX_URL + len("/users?ids=") for batch in batches)
    assert len(batches) == 8


def test_in_a_body_the_ids_of_a_page_are_a_list():
    page = template("https://accounts.example/users", {"ids": USERS}, USERS)
    assert list(page.batches(["a,b", "c", "d"], 2)) == [["a,b", "c"], ["d"]]
    assert page.fill("a,b", "c").body == b'{"ids":["a,b","c"]}'


@pytest.mark.parametrize("url", ["https://a.example/{ext_user_id}.json", "https://a.example/.{ext_user_id}"])
def test_dots_beside_the_id_count_too(url):
    assert template(url).fill("anna") is not None
    assert (template(url).fill(".") is None) == url.endswith("/.{ext_user_id}")


async def test_the_service_gets_the_id_byte_for_byte(asking, fixed):
    async with asking() as plugin:
        for one in ("a;b", "a%3Bb", "..%2Fx", "a%2Fb", "é +", "a,b:c@d"):
            fixed.answer({"email": None})
            assert await plugin.find_contact(one) is not None
            assert unquote(fixed.requests[-1].raw_path.removeprefix("/users/"), errors="strict") == one
            assert ";" not in fixed.requests[-1].raw_path
        count = len(fixed.requests)
        for one in ("../admin", "17/referrer"):
            assert await plugin.find_contact(one) is None
        assert len(fixed.requests) == count
