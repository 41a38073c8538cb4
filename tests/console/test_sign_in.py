"""Signing in to a console in this process, whose clock stands still."""

import asyncio
from ipaddress import ip_network
from urllib.parse import quote

import httpx
import pytest

from gatepost.console import passwords
from gatepost.console.access import Access
from gatepost.console.app import create_console
from gatepost.console.login_throttle import FREE_FAILURES, LoginThrottle
from gatepost.console.passwords import MAX_WAITING, PasswordCheck
from gatepost.console.recent import RecentValues
from gatepost.console.services import ConsoleServices
from gatepost.model import Secret
from gatepost.outbox import Policy, open_outbox
from gatepost.outbox.console_users import ConsoleUser, UserChange, put_user
from gatepost.outbox.reader import Reader

PASSWORD = "correct horse battery"


PROXY = ip_network("192.0.2.1")


def noon():
    return 1_800_014_400.0


@pytest.fixture(params=["sqlite"])
async def connect(request, tmp_path):
    """Return a function that connects to the console from an address. A proxy at 192.0.2.1 names users."""
    url = Secret("sqlite:///gatepost.db")
    if request.param == "postgresql":
        url = Secret(request.getfixturevalue("postgres_server").new_database())
    hashed = passwords.hash_password(PASSWORD)
    user = ConsoleUser(name="maria", role="operator", password_hash=hashed)
    async with open_outbox(url, tmp_path, Policy(), clock=noon) as outbox:
        await outbox.change(put_user, UserChange(user, "root"))
        reader, check = Reader(url, tmp_path), PasswordCheck()
        services = ConsoleServices(
            admin=None,
            reader=reader,
            access=Access(outbox, reader, user_header="X-User", user_header_networks=[PROXY]),
            passwords=check,
            throttle=LoginThrottle(noon),
            recent=RecentValues(noon),
            batches=None,
        )
        app = create_console(services, {"localhost"})

        def from_address(address):
            transport = httpx.ASGITransport(app, client=(address, 1))
            return httpx.AsyncClient(transport=transport, base_url="http://localhost")

        yield from_address
        check.close()
        await reader.close()


@pytest.fixture
async def http(connect):
    async with connect("127.0.0.1") as client:
        yield client


async def guess(http, password="a guess"):
    return (await http.post("/login", data={"name": "maria", "password": password})).status_code


async def test_guesses_at_the_same_moment_are_one_guess(http):
    """Else each wait would be worth as many guesses as may wait for their check."""
    for _ in range(FREE_FAILURES - 1):
        assert await guess(http) == 401
    answers = await asyncio.gather(*(guess(http) for _ in range(MAX_WAITING)))
    assert sorted(answers) == [401] + [429] * (MAX_WAITING - 1)


async def test_more_passwords_than_may_wait_are_not_checked(http):
    answers = await asyncio.gather(*(guess(http, PASSWORD) for _ in range(3 * MAX_WAITING)))
    assert set(answers) == {303, 503}
    assert await guess(http, PASSWORD) == 303


@pytest.mark.parametrize("connect", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("name", ["\0", "maria\0", "é" * 10_000, "\ud800", "' OR 1=1 --"])
async def test_a_name_that_no_user_can_have_is_a_wrong_one(http, name):
    form = b"password=x&name=" + quote(name.encode("utf-8", "surrogatepass")).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post("/login", content=form, headers=kind)
    assert answer.status_code == 401
    assert "There is no user with this name" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nset-cookie: a=b",
        "\t//evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "",
    ],
)
async def test_signing_in_leads_to_a_page_of_the_console(http, path):
    assert 'name="next" value="/"' in (await http.get("/login", params={"next": path})).text
    form = {"name": "maria", "password": PASSWORD, "next": path}
    assert (await http.post("/login", data=form)).headers["location"] == "/"


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("192.0.2.1", [("x-user", "maria")], 200),
        ("192.0.2.2", [("X-User", "maria")], 302),
        ("192.0.2.2", [("X-User", "maria"), ("X-Forwarded-For", "192.0.2.1")], 302),
        ("192.0.2.1", [("X_User", "maria")], 302),
        ("192.0.2.1", [("X-User", "maria"), ("X-User", "maria")], 302),
        ("192.0.2.1", [("X-User", "maria,maria")], 302),
        ("192.0.2.1", [("X-User", "Maria")], 302),
        ("192.0.2.1", [("X-User", "")], 302),
        ("192.0.2.1", [], 302),
    ],
)
async def test_the_header_of_a_user_counts_from_its_proxy_alone(connect, address, headers, status):
    async with connect(address) as http:
        assert (await http.get("/audit", headers=headers)).status_code == status


async def test_an_unknown_user_of_the_proxy_is_not_the_one_who_has_signed_in(connect):
    async with connect("192.0.2.1") as http:
        assert await guess(http, PASSWORD) == 303
        assert (await http.get("/audit")).status_code == 200
        assert (await http.get("/audit", headers={"X-User": "stranger"})).status_code == 302
