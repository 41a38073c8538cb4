import asyncio
import ssl
import uuid
from urllib.parse import urlencode

import aiohttp
import pytest
import trustme
from aiohttp import web

from gatepost.testing import smartico
from gatepost.testing.smartico import Smartico

ID = "0b8f0a4e-5b3c-4c5e-9d0a-2f6a1c3d4e5f"
GOOD = {"type": "email", "ext_message_id": ID, "status": "accepted", "api_key": "callback-key"}


@pytest.fixture
async def crm():
    async with Smartico(api_key="callback-key") as stand_in:
        yield stand_in


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def address(crm, **changes):
    """Return the callback URL for GOOD with these changes; None removes a parameter."""
    query = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return f"{crm.callback_url}{'&' if '?' in crm.callback_url else '?'}{urlencode(query, doseq=True)}"


async def status_of(http, url, method="GET", **more):
    async with http.request(method, url, allow_redirects=False, **more) as response:
        await response.read()
        return response.status


class TestCallbacks:
    @pytest.mark.parametrize("kind", ["email", "sms"])
    @pytest.mark.parametrize(
        "status", ["accepted", "delivered", "failed", "rejected", "complained", "opened", "unsubscribed"]
    )
    async def test_a_call_of_the_contract_is_taken_and_remembered(self, crm, http, kind, status):
        assert await status_of(http, address(crm, type=kind, status=status)) == 200
        [call] = crm.callbacks
        assert (call.type, call.ext_message_id, call.status) == (kind, ID, status)
        assert call.query == {**GOOD, "type": kind, "status": status}
        assert crm.violations == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": None},
            {"ext_message_id": None},
            {"status": None},
            {"api_key": None},
            {"type": "push"},
            {"type": "EMAIL"},
            {"status": "clicked"},
            {"status": "Accepted"},
            {"status": ""},
            {"api_key": "another"},
            {"api_key": ""},
            {"ext_message_id": ""},
            {"ext_message_id": ID.upper()},
            {"ext_message_id": ID + "\n"},
            {"ext_message_id": ID[:-1]},
            {"status": ["accepted", "accepted"]},
            {"email": "anna@people.example"},
        ],
    )
    async def test_anything_else_is_a_violation_and_not_a_callback(self, crm, http, changes):
        assert await status_of(http, address(crm, **changes)) == 400
        assert (crm.callbacks, crm.attempts, len(crm.violations)) == ([], [], 1)

    @pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
    async def test_another_method_is_a_violation(self, crm, http, method):
        assert await status_of(http, address(crm), method) == 400
        assert len(crm.violations) == 1

    async def test_a_body_is_a_violation(self, crm, http):
        assert await status_of(http, address(crm), data=b"{}") == 400
        assert crm.violations == ["the callback has a body"]

    async def test_another_path_is_a_violation(self, crm, http):
        assert await status_of(http, address(crm).replace("/callback", "/callbacks")) == 400
        assert len(crm.violations) == 1

    async def test_violations_quote_no_values(self, crm, http):
        await status_of(http, address(crm, api_key="hunter2", status="hunter2", hunter2="hunter2"))
        assert crm.violations
        assert "hunter2" not in " ".join(crm.violations)

    async def test_a_violation_does_not_affect_the_next_callback(self, crm, http):
        await status_of(http, address(crm, status="clicked"))
        assert await status_of(http, address(crm)) == 200
        assert crm.statuses_of(ID) == ["accepted"]

    async def test_the_callback_urls_own_query_has_to_be_kept(self, http):
        async with Smartico(api_key="callback-key", query={"brand": "a b&c", "status": "old"}) as crm:
            with_own = f"{crm.callback_url.partition('?')[0]}?{urlencode({'brand': 'a b&c', **GOOD})}"
            assert await status_of(http, with_own) == 200
            assert crm.callbacks[0].query["brand"] == "a b&c"
            assert await status_of(http, with_own.replace("brand", "brands")) == 400
            assert await status_of(http, with_own.replace("a+b", "ab")) == 400
            # Not replaced, but added beside the URL's own.
            assert await status_of(http, address(crm)) == 400

    async def test_over_tls(self, http):
        authority = trustme.CA()
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        async with Smartico(api_key="callback-key", tls=server) as crm:
            assert crm.callback_url.startswith("https://127.0.0.1:")
            assert await status_of(http, address(crm), ssl=client) == 200


class TestFailing:
    @pytest.mark.parametrize("status", [500, 503, 404])
    async def test_fails_for_a_number_of_callbacks(self, crm, http, status):
        crm.fail(smartico.answer(status), calls=2)
        assert [await status_of(http, address(crm)) for _ in range(3)] == [status, status, 200]
        assert (len(crm.attempts), len(crm.callbacks)) == (3, 1)

    async def test_fails_until_it_recovers(self, crm, http):
        crm.fail(smartico.answer(500), calls=None)
        assert {await status_of(http, address(crm)) for _ in range(5)} == {500}
        crm.recover()
        assert await status_of(http, address(crm)) == 200

    async def test_fails_for_certain_statuses_only(self, crm, http):
        crm.fail(smartico.answer(500), calls=1, statuses=["delivered"])
        assert await status_of(http, address(crm)) == 200
        assert await status_of(http, address(crm, status="delivered")) == 500
        assert await status_of(http, address(crm, status="delivered")) == 200

    async def test_planned_failures_take_effect_in_order(self, crm, http):
        crm.fail(smartico.answer(500))
        crm.fail(smartico.answer(429))
        assert [await status_of(http, address(crm)) for _ in range(3)] == [500, 429, 200]

    async def test_retry_after_and_location_are_sent(self, crm, http):
        crm.fail(smartico.answer(429, retry_after=7))
        crm.fail(smartico.redirect("http://127.0.0.1:9/elsewhere"))
        async with http.get(address(crm)) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "7")
        async with http.get(address(crm), allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "http://127.0.0.1:9/elsewhere")

    async def test_an_error_code_comes_with_200_and_counts_as_failed(self, crm, http):
        crm.fail(smartico.error_code(5))
        async with http.get(address(crm)) as response:
            assert (response.status, await response.json()) == (200, {"error_code": 5})
        assert crm.callbacks == []

    async def test_closes_the_connection_without_an_answer(self, crm, http):
        crm.fail(smartico.close(), calls=None)
        with pytest.raises(aiohttp.ClientError):
            await status_of(http, address(crm))
        assert crm.callbacks == []

    async def test_hangs_until_the_client_gives_up_and_ends_all_the_same(self, http):
        async with Smartico(api_key="callback-key") as crm:
            crm.fail(smartico.hang())
            call = asyncio.create_task(status_of(http, address(crm)))
            await crm.wait_for(ID, "accepted", attempted=True)
            assert await status_of(http, address(crm)) == 200
            assert not call.done()
        with pytest.raises(aiohttp.ClientError):
            await call


class TestWaiting:
    async def test_an_earlier_callback_is_found(self, crm, http):
        await status_of(http, address(crm))
        assert (await crm.wait_for(ID, "accepted")).status == "accepted"

    async def test_a_later_callback_is_waited_for(self, crm, http):
        waiting = asyncio.create_task(crm.wait_for(ID, "delivered"))
        await status_of(http, address(crm))
        await status_of(http, address(crm, status="delivered", ext_message_id=str(uuid.uuid4())))
        assert not waiting.done()
        await status_of(http, address(crm, status="delivered"))
        assert (await waiting).ext_message_id == ID
        assert crm.statuses_of(ID) == ["accepted", "delivered"]

    async def test_a_timeout_names_what_was_received(self, crm, http):
        await status_of(http, address(crm))
        await status_of(http, address(crm, status="clicked"))
        with pytest.raises(
            TimeoutError, match=r"no 'delivered' .* received: accepted; the contract was broken: status"
        ):
            await crm.wait_for(ID, "delivered", timeout=0.01)


class Gateway:
    """A gateway that records one request and gives the answer that a test sets."""

    def __init__(self):
        self.answer = b'{"error_code": 0, "ext_message_id": "%s"}' % ID.encode()
        self.status = 200
        self.content_type = "application/json"
        self.seen = []

    async def handle(self, request):
        self.seen.append(
            (request.method, request.path, request.headers.get("Authorization"), await request.json())
        )
        return web.Response(status=self.status, body=self.answer, content_type=self.content_type)


@pytest.fixture
async def gateway(crm):
    played = Gateway()
    runner = web.ServerRunner(web.Server(played.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    crm.gateway_url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    crm.authorization = "the secret"
    yield played
    await runner.cleanup()


class TestAsking:
    async def test_an_email_has_every_required_field(self, crm, gateway):
        assert await crm.send_email() == {"error_code": 0, "ext_message_id": ID}
        [(method, path, authorization, fields)] = gateway.seen
        assert (method, path, authorization) == ("POST", "/email", "the secret")
        assert all(
            fields[name] for name in ("ext_user_id", "from_email_address", "subject", "body", "email_uid")
        )
        assert fields["callback_url"] == crm.callback_url

    async def test_a_text_message_has_every_required_field(self, crm, gateway):
        await crm.send_sms()
        [(_, path, _, fields)] = gateway.seen
        assert path == "/sms"
        assert all(fields[name] for name in ("ext_user_id", "body", "im_uid", "callback_url"))

    async def test_each_message_has_a_uid_of_its_own(self, crm, gateway):
        await crm.send_email()
        await crm.send_email()
        assert gateway.seen[0][3]["email_uid"] != gateway.seen[1][3]["email_uid"]

    async def test_fields_are_set_and_left_out(self, crm, gateway):
        await crm.send_email(subject="Привет", callback_url=None, anything="new")
        fields = gateway.seen[0][3]
        assert (fields["subject"], fields["anything"]) == ("Привет", "new")
        assert "callback_url" not in fields

    async def test_a_refusal_is_returned(self, crm, gateway):
        gateway.answer = b'{"error_code": 1, "error_message": "no such user"}'
        assert (await crm.send_sms())["error_code"] == 1

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"[]",
            b"\xff",
            b'{"error_code": 0}',
            b'{"error_code": 0, "ext_message_id": ""}',
            b'{"error_code": 0, "ext_message_id": 5}',
            b'{"error_code": 1}',
            b'{"error_code": -1, "error_message": "x"}',
            b'{"error_code": "0", "ext_message_id": "x"}',
            b'{"error_code": false, "ext_message_id": "x"}',
            b'{"error_code": 0, "ext_message_id": "x", "email": "x"}',
        ],
    )
    async def test_an_answer_that_the_contract_does_not_allow_is_an_error(self, crm, gateway, answer):
        gateway.answer = answer
        with pytest.raises(AssertionError):
            await crm.send_email()

    async def test_another_http_status_or_type_is_an_error(self, crm, gateway):
        gateway.status = 201
        with pytest.raises(AssertionError, match="201"):
            await crm.send_email()
        gateway.status, gateway.content_type = 200, "text/html"
        with pytest.raises(AssertionError, match="text/html"):
            await crm.send_email()
