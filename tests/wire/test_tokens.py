"""Access tokens: kept, renewed in time, replaced after a 401, and fetched once for all who wait."""

import asyncio

import msgspec
import pytest

from gatepost import wire
from gatepost.errors import Rejected, Unavailable, Uncertain
from gatepost.model import Secret
from wire.raw_server import RawServer, answer, answering


class Tokens:
    """A source of numbered tokens."""

    def __init__(self, lifetime: float = 3600.0) -> None:
        self.lifetime = lifetime
        self.fetched = 0
        self.began = asyncio.Event()
        self.error: Exception | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self) -> wire.Token:
        self.fetched += 1
        self.began.set()
        number = self.fetched
        await self.may_go_on.wait()
        if self.error:
            raise self.error
        return wire.Token(Secret(f"token-{number}"), self.lifetime)


@pytest.fixture
def tokens():
    return Tokens()


@pytest.fixture
async def server():
    async with RawServer(answering) as running:
        yield running


@pytest.fixture
async def http(server, tokens):
    async with connect(server, tokens) as client:
        yield client


@pytest.fixture
async def pass_time(monkeypatch):
    """Return a function that sets the event loop's clock ahead."""
    loop = asyncio.get_running_loop()
    ahead = 0.0
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead)

    def skip(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    return skip


def connect(server: RawServer, tokens: Tokens, **more) -> wire.Http:
    return wire.connect(server.url, **{"timeout": 30.0, "connections": 8, "token": tokens, **more})


def sent_with(server: RawServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


async def test_one_token_serves_all_who_send(server, http, tokens):
    await asyncio.gather(*(http.post("/", b"{}") for _ in range(8)))
    await http.get("/")

    assert sent_with(server) == ["token-1"] * 9
    assert tokens.fetched == 1


@pytest.mark.parametrize(("lifetime", "kept_for"), [(3600.0, 3299), (60.0, 47)])
async def test_a_token_is_renewed_before_its_end_while_the_old_one_serves(
    server, http, tokens, pass_time, lifetime, kept_for
):
    tokens.lifetime = lifetime
    await http.post("/", b"{}")
    pass_time(kept_for)
    await http.post("/", b"{}")
    assert tokens.fetched == 1

    pass_time(2)
    await http.post("/", b"{}")
    await http.post("/", b"{}")
    assert tokens.fetched == 2
    assert sent_with(server) == ["token-1", "token-1", "token-1", "token-2"]


async def test_a_renewal_that_fails_costs_nothing_while_the_old_token_is_valid(
    server, http, tokens, pass_time
):
    await http.post("/", b"{}")
    tokens.error = Unavailable("away")
    pass_time(3500)
    await http.post("/", b"{}")
    assert sent_with(server) == ["token-1", "token-1"]

    pass_time(200)
    with pytest.raises(Unavailable, match="away"):
        await http.post("/", b"{}")
    assert len(server.requests) == 2


async def test_a_refused_token_is_replaced_and_the_request_repeated(server, http, tokens):
    async def refuse_the_first(connection):
        while request := await connection.read():
            await connection.write(answer(401 if request.headers["authorization"].endswith("-1") else 202))

    server.script = refuse_the_first
    reply = await http.post("/v1/messages", [("to", "anna")])

    assert reply.status == 202
    assert sent_with(server) == ["token-1", "token-2"]
    assert [request.body for request in server.requests] == [b"to=anna", b"to=anna"]


async def test_a_second_refusal_is_the_answer(server, http):
    async def refuse(connection):
        while await connection.read():
            await connection.write(answer(401))

    server.script = refuse

    assert (await http.post("/", b"{}")).status == 401
    assert len(server.requests) == 2


async def test_a_late_refusal_does_not_discard_the_next_token(server, http, tokens):
    """Both were sent with the first token; the second 401 comes when the token is already replaced."""
    both_arrived = asyncio.Barrier(2)

    async def refuse_the_first(connection):
        while request := await connection.read():
            if request.headers["authorization"].endswith("-1"):
                await both_arrived.wait()
                await connection.write(answer(401))
            else:
                await connection.write(answer())

    server.script = refuse_the_first
    await asyncio.gather(http.post("/", b"{}"), http.post("/", b"{}"))

    assert tokens.fetched == 2


async def test_a_request_with_a_header_of_its_own_takes_no_token(server, http, tokens):
    await http.post("/", b"{}", headers=wire.basic_auth("anna", Secret("sesame")))

    assert tokens.fetched == 0
    assert server.requests[0].headers["authorization"] == "Basic YW5uYTpzZXNhbWU="


async def test_a_source_may_use_the_same_client(server):
    async def fetch() -> wire.Token:
        # In a task of its own, as asyncio.wait_for starts one.
        reply = await asyncio.wait_for(http.post("/token", [("grant_type", "client_credentials")]), 30)
        return wire.Token(Secret(f"after-{reply.status}"), 3600)

    async with connect(server, fetch) as http:
        await http.post("/", b"{}")

    assert "authorization" not in server.requests[0].headers
    assert server.requests[1].headers["authorization"] == "Bearer after-202"


@pytest.mark.parametrize(
    ("error", "misconfigured"), [(Rejected("invalid_client", code="400"), True), (Uncertain("lost"), False)]
)
async def test_without_a_token_nothing_was_sent(server, http, tokens, error, misconfigured):
    tokens.error = error
    with pytest.raises(Unavailable) as raised:
        await http.post("/", b"{}")

    assert raised.value.misconfigured is misconfigured
    assert raised.value.code == error.code
    assert server.requests == []


async def test_the_deadline_includes_the_wait_for_a_token(server, tokens):
    tokens.may_go_on.clear()
    async with connect(server, tokens, timeout=0.2) as http:
        with pytest.raises(Unavailable, match="in time"):
            await http.post("/", b"{}")

    assert server.requests == []


async def test_a_cancelled_sender_leaves_the_fetch_to_the_others(server, http, tokens):
    tokens.may_go_on.clear()
    cancelled = asyncio.create_task(http.post("/", b"{}"))
    other = asyncio.create_task(http.post("/", b"{}"))
    await tokens.began.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    tokens.may_go_on.set()

    assert (await other).status == 202
    assert cancelled.cancelled()
    assert tokens.fetched == 1


@pytest.mark.parametrize(
    "token",
    [None, "token-1", wire.Token(Secret("token-1"), "3600 s"), wire.Token(Secret("a\r\nX-Evil: 1"), 3600)],
)
async def test_a_source_that_breaks_its_contract_has_sent_nothing(server, token):
    """Such as one that reads an answer of another form: Uncertain would hold a message that never left."""

    async def fetch():
        return token or {}["access_token"]

    async with connect(server, fetch) as http:
        with pytest.raises(Unavailable, match="no access token"):
            await http.post("/", b"{}")

    assert server.requests == []


async def test_an_endpoint_that_fails_is_not_asked_with_each_send(server, http, tokens, pass_time):
    """The old token still serves, so no breaker would stop the sends."""
    await http.post("/", b"{}")
    tokens.error = Unavailable("away")
    pass_time(3400)
    for _ in range(20):
        await http.post("/", b"{}")
    assert tokens.fetched == 2

    pass_time(6)
    await http.post("/", b"{}")
    await http.post("/", b"{}")
    assert tokens.fetched == 3


async def test_many_senders_fetch_one_token_after_a_refusal(server, tokens):
    async def refuse_the_first(connection):
        while request := await connection.read():
            await connection.write(answer(401 if request.headers["authorization"].endswith("-1") else 202))

    server.script = refuse_the_first
    async with connect(server, tokens, connections=16) as http:
        replies = await asyncio.gather(*(http.post("/", b"{}") for _ in range(64)))

    assert {reply.status for reply in replies} == {202}
    assert tokens.fetched == 2


async def test_a_refusal_at_the_deadline_is_not_repeated(server, http, tokens, pass_time):
    real_send = http._send

    async def refuse_late(*arguments, **sends):
        reply = await real_send(*arguments, **sends)
        pass_time(30)
        return msgspec.structs.replace(reply, status=401)

    http._send = refuse_late
    with pytest.raises(Unavailable):
        await http.post("/", b"{}")
    assert len(server.requests) == 1


async def test_a_source_that_hangs_is_given_up(server, pass_time):
    """Otherwise no later send would have a token, until a restart."""
    fetches = []

    async def fetch():
        fetches.append(asyncio.Event())
        if len(fetches) == 1:
            await fetches[0].wait()
        return wire.Token(Secret("token"), 3600)

    async with connect(server, fetch) as http:
        first = asyncio.create_task(http.post("/", b"{}"))
        while not fetches:  # noqa: ASYNC110  the fetch begins a few turns later
            await asyncio.sleep(0)
        pass_time(120)
        with pytest.raises(Unavailable):
            await first
        assert (await asyncio.wait_for(http.post("/", b"{}"), 10)).status == 202
