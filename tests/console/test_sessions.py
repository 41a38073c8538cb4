"""Sessions, by a clock that the test moves: when one ends, and what counts as use."""

import re

import pytest

from gatepost.console.access import COOKIE, MAX_IDLE, MAX_SESSION, TOUCH_INTERVAL
from gatepost.console.rendering import environment
from gatepost.errors import StoreBusy
from gatepost.outbox import console_users
from gatepost.outbox.console_users import NewSession, begin_session

REFRESH = {"HX-Request": "true"}


@pytest.fixture
async def cookie(site):
    """Return the cookie of a session of maria that begins now."""
    user = await site.reader.read(lambda connection: console_users.find_user(connection, "maria"))
    assert await site.outbox.change(begin_session, NewSession("a-token", user, MAX_SESSION))
    return f"{COOKIE}=a-token"


@pytest.fixture
def get(site, cookie):
    """Return a function that gets a page in this session, as a browser does or as a page refreshes itself."""

    async def get(path="/", **headers):
        return await site.http.get(path, headers={"cookie": cookie, **headers})

    return get


async def test_a_session_that_only_refreshes_pages_ends(site, get):
    refreshed = MAX_IDLE / TOUCH_INTERVAL - 1
    for _ in range(round(refreshed)):
        site.clock.now += TOUCH_INTERVAL
        answer = await get(**REFRESH)
        assert answer.status_code == 200
    site.clock.now += TOUCH_INTERVAL - 0.001
    assert (await get(**REFRESH)).status_code == 200
    site.clock.now += 0.001
    answer = await get(**REFRESH)
    assert answer.status_code == 401
    # A page in which a part of it would be replaced by this has nothing to take from it.
    assert 'id="live"' not in answer.text
    assert "Your session has ended" in answer.text
    answer = await get("/plugins?plugin=box")
    assert (answer.status_code, answer.headers["location"]) == (302, "/login?next=%2Fplugins%3Fplugin%3Dbox")


async def test_each_use_makes_a_session_last_for_another_hour(site, get):
    for path in ("/", "/plugins", "/stats"):
        site.clock.now += MAX_IDLE - 1
        assert (await get(**REFRESH)).status_code == 200
        assert (await get(path)).status_code == 200
    site.clock.now += MAX_IDLE
    assert (await get(**REFRESH)).status_code == 401


async def test_a_form_that_is_sent_is_use_too(site, get, cookie):
    (csrf,) = re.findall(r'"X-CSRF-Token": "(\w+)"', (await get()).text)
    site.clock.now += MAX_IDLE - 1
    fields = {"csrf": csrf, "id": "nothing"}
    assert (await site.http.post("/messages", data=fields, headers={"cookie": cookie})).status_code < 500
    site.clock.now += MAX_IDLE - 1
    assert (await get()).status_code == 200


async def test_a_session_that_is_used_ends_after_its_whole_time(site, get):
    end = site.clock.now + MAX_SESSION
    while site.clock.now < end - MAX_IDLE / 2:
        assert (await get()).status_code == 200
        site.clock.now += MAX_IDLE / 2
    site.clock.now = end
    assert (await get()).status_code == 302


async def test_pages_are_shown_while_the_store_takes_no_changes(site, get, monkeypatch):
    async def refuse(*_):
        raise StoreBusy("the disk is full")

    monkeypatch.setattr(site.outbox, "change", refuse)
    site.clock.now += TOUCH_INTERVAL
    assert (await get()).status_code == 200


def test_only_pages_that_refresh_themselves_make_requests_by_htmx():
    """Use is what has no header of htmx: so what a user does must be a form or a link."""
    loader = environment().loader
    for name in loader.list_templates():
        text = loader.get_source(environment(), name)[0]
        assert set(re.findall(r"hx-(get|post|put|patch|delete|boost|ws|sse)\b", text)) <= {"get"}, name
        for trigger in re.findall(r'hx-trigger="([^"]*)"', text):
            assert re.fullmatch(r"load|every \d+s", trigger), (name, trigger)
        assert text.count("hx-get=") == text.count("hx-trigger="), name
