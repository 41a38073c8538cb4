"""The emulator does what Infobip does: whom it refuses, in which words, and where it reports."""

import json
import random
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from gatepost.errors import BadSignature
from gatepost.model import Status, WebhookRequest
from gatepost.testing import emulator
from gatepost.testing.report_sender import AutomaticReports

SMS = {
    "messages": [
        {"sender": "Amazing", "destinations": [{"to": "447700900123"}], "content": {"text": "Hello"}}
    ]
}
VIBER = {
    "messages": [
        {
            "sender": "Amazing",
            "destinations": [{"to": "447700900123"}],
            "content": {"type": "TEXT", "text": "Hello"},
        }
    ]
}
WHATSAPP = {
    "messages": [
        {
            "from": "447700900999",
            "to": "447700900123",
            "content": {
                "templateName": "news",
                "templateData": {"body": {"placeholders": ["Hello", "there"]}},
                "language": "en_GB",
            },
        }
    ]
}
PATHS = {"/sms/3/messages": SMS, "/viber/2/messages": VIBER, "/whatsapp/1/message/template": WHATSAPP}


@pytest.fixture
async def call(infobip):
    async with aiohttp.ClientSession() as session:

        async def send(path, body=None, *, method="POST", key=None, content_type="application/json"):
            headers = {"Authorization": key or f"App {infobip.api_key}", "Content-Type": content_type}
            data = body if isinstance(body, bytes) or body is None else json.dumps(body)
            async with session.request(method, infobip.base_url + path, headers=headers, data=data) as answer:
                return answer.status, await answer.json()

        yield send


@pytest.mark.parametrize("path", PATHS)
async def test_a_good_message_is_taken_and_has_an_id(infobip, call, path):
    status, answer = await call(path, PATHS[path])

    [message] = answer["messages"]
    assert status == 200
    assert message["messageId"] == infobip.taken[0].provider_id
    assert message["status"].items() >= {"groupId": 1, "groupName": "PENDING", "id": 26}.items()
    assert [arrival.recipient for arrival in infobip.arrivals()] == ["+447700900123"]
    assert infobip.arrivals()[0].text in {"Hello", "Hello\nthere"}


async def test_the_parts_of_a_text_message_are_counted_if_that_is_asked_for(call):
    _, without = await call("/sms/3/messages", SMS)
    _, with_count = await call("/sms/3/messages", {**SMS, "options": {"includeSmsCountInResponse": True}})

    assert without["messages"][0]["details"] == {}
    assert with_count["messages"][0]["details"] == {"messageCount": 1}


@pytest.mark.parametrize(
    "key",
    ["x", "App x", "App ", "Bearer {key}", "Basic {key}", "app {key}", "{key}", "App {key} "[:-1] + "x"],
)
@pytest.mark.parametrize("path", PATHS)
async def test_another_key_is_refused(infobip, call, path, key):
    status, answer = await call(path, PATHS[path], key=key.format(key=infobip.api_key))

    assert status == 401
    assert infobip.taken == []
    if path.startswith("/whatsapp"):
        exception = {"messageId": "UNAUTHORIZED", "text": "Invalid login details"}
        assert answer == {"requestError": {"serviceException": exception}}
    else:
        assert answer.keys() == {"errorCode", "description", "action", "violations", "resources"}
        assert answer["errorCode"] == "E401"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body", [b"", b"[", b"\xff", b"[]", b"7", b"{}", b'{"messages": []}', b'{"messages": [7]}']
)
async def test_another_body_is_refused(infobip, call, path, body):
    assert (await call(path, body))[0] == 400
    assert infobip.taken == []


async def test_a_form_is_refused(call):
    assert (await call("/sms/3/messages", b"to=1", content_type="application/x-www-form-urlencoded"))[
        0
    ] == 415


async def test_several_messages_at_once_are_not_emulated(infobip, call):
    assert (await call("/sms/3/messages", {"messages": SMS["messages"] * 2}))[0] == 400
    two = {**SMS["messages"][0], "destinations": [{"to": "447700900123"}] * 2}
    assert (await call("/sms/3/messages", {"messages": [two]}))[0] == 400
    assert infobip.taken == []


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        ("/sms/3/messages", {"destinations": [{"to": "+447700900123"}]}, "messages[0].destinations[0].to"),
        ("/sms/3/messages", {"destinations": [{"to": "00447700900123"}]}, "messages[0].destinations[0].to"),
        ("/sms/3/messages", {"destinations": [{"to": "4٤٧٧٠٠٩٠٠١٢٣"}]}, "messages[0].destinations[0].to"),
        ("/sms/3/messages", {"sender": "ABCDEFGHIJKL"}, "messages[0].sender"),
        ("/sms/3/messages", {"sender": "Café"}, "messages[0].sender"),
        ("/sms/3/messages", {"content": {"text": ""}}, "messages[0].content.text"),
        ("/sms/3/messages", {"content": {"text": None}}, "messages[0].content.text"),
        ("/sms/3/messages", {"from": "Amazing"}, "messages[0].from"),
        ("/sms/3/messages", {"options": {"validityPeriod": {"amount": 0}}}, "messages[0].options.validityPeriod.amount"),
        ("/sms/3/messages", {"webhooks": {"delivery": {"url": "gatepost"}}}, "messages[0].webhooks.delivery.url"),
        ("/viber/2/messages", {"content": {"type": "IMAGE", "text": "x"}}, "messages[0].content.type"),
        ("/whatsapp/1/message/template", {"from": "Amazing"}, "messages[0].from"),
        ("/whatsapp/1/message/template", {"notifyUrl": "x" * 2049}, "messages[0].notifyUrl"),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named(infobip, call, path, fields, name):
    status, answer = await call(path, {"messages": [PATHS[path]["messages"][0] | fields]})

    if path.startswith("/whatsapp"):
        names = list(answer["requestError"]["serviceException"]["validationErrors"])
    else:
        names = [one["property"] for one in answer["violations"]]
    assert (status, names) == (400, [name])
    assert infobip.refused == [(400, name)]
    assert infobip.taken == []


@pytest.mark.parametrize("text", ["", "a\nb", "a\rb", "a\tb", "a     b"])
async def test_a_placeholder_is_held_to_whatsapps_rules(call, text):
    content = WHATSAPP["messages"][0]["content"] | {
        "templateData": {"body": {"placeholders": ["good    text", text]}}
    }

    status, answer = await call(
        "/whatsapp/1/message/template", {"messages": [WHATSAPP["messages"][0] | {"content": content}]}
    )

    assert status == 400
    assert list(answer["requestError"]["serviceException"]["validationErrors"]) == [
        "messages[0].content.templateData.body.placeholders[1]"
    ]


async def test_an_id_that_is_known_is_refused_in_an_answer_200(infobip, call):
    body = {"messages": [SMS["messages"][0] | {"destinations": [{"to": "447700900123", "messageId": "m"}]}]}
    await call("/sms/3/messages", body)

    status, answer = await call("/sms/3/messages", body)

    assert status == 200
    assert (
        answer["messages"][0]["status"].items() >= {"id": 23, "name": "REJECTED_DUPLICATE_MESSAGE_ID"}.items()
    )
    assert len(infobip.taken) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sms/3/reports?limit=1&messageId=x", 200),
        ("GET", "/sms/3/reports", 200),
        ("GET", "/sms/3/reports?limit=1001", 400),
        ("GET", "/sms/3/reports?limit=all", 400),
        ("GET", "/viber/2/reports?limit=1", 200),
        ("GET", "/whatsapp/2/senders/447700900999/templates", 200),
        ("GET", "/whatsapp/2/senders/Amazing/templates", 404),
        ("GET", "/whatsapp/2/reports", 404),
        ("GET", "/sms/3/messages", 404),
        ("POST", "/sms/2/text/advanced", 404),
        ("POST", "/sms/3/reports", 404),
    ],
)
async def test_each_resource_is_where_infobip_has_it(call, method, path, status):
    assert (await call(path, method=method))[0] == status


async def test_a_planned_error_looks_like_that_of_the_api(infobip, call):
    infobip.plan(emulator.answer(429), emulator.answer(500))

    assert (await call("/whatsapp/1/message/template", WHATSAPP))[1]["requestError"]["serviceException"][
        "messageId"
    ] == "TOO_MANY_REQUESTS"
    assert (await call("/sms/3/messages", SMS))[1]["errorCode"] == "E500"


async def test_reports_are_repeated_with_growing_pauses(infobip):
    assert [pause / 60 for pause in infobip.retry_pauses[:6]] == [1, 2, 5, 10, 17, 26]
    assert infobip.tries_again(503)
    assert infobip.tries_again(400)
    assert not infobip.tries_again(204)


@pytest.fixture
async def webhook():
    """Run the plugin's webhook behind a real server; ``plugin`` is to be set."""
    server = SimpleNamespace(plugin=None, url="", events=[], paths=[])

    async def answer(request):
        server.paths.append(request.path_qs)
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = WebhookRequest(
            method="POST", url=str(request.url), headers=headers, body=await request.read(), received_at=0.0
        )
        try:
            server.events += (await server.plugin.parse_webhook(received)).events
        except BadSignature:
            return web.Response(status=401)
        return web.Response()

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/infobip"
    yield server
    await runner.cleanup()


@pytest.mark.parametrize("channel", ["sms", "viber", "whatsapp"])
async def test_reports_go_to_the_address_in_the_message(infobip, on, sms, webhook, channel):
    infobip.webhook_url = "http://127.0.0.1:9/of-the-subscription"
    # A text message is never seen.
    kinds = ("DELIVERED_TO_HANDSET",) if channel == "sms" else ("DELIVERED_TO_HANDSET", "SEEN")
    infobip.automatic_reports = AutomaticReports(kinds=kinds)
    async with on(channel, {"webhook_url": webhook.url}) as plugin:
        webhook.plugin = plugin
        await plugin.send_sms(sms())
        await infobip.wait_for_reports()

    assert [event.status for event in webhook.events] == [Status.DELIVERED, Status.OPENED][: len(kinds)]
    assert set(webhook.paths) == {f"/webhooks/infobip?token={infobip.webhook_token}"}


async def test_seen_reports_have_an_address_of_their_own(infobip, call, plugin, webhook):
    webhook.plugin = plugin
    infobip.automatic_reports = AutomaticReports(kinds=("SEEN", "DELIVERED_TO_HANDSET"))
    webhooks = {name: {"url": f"{webhook.url}?of={name}"} for name in ("delivery", "seen")}

    await call("/viber/2/messages", {"messages": [VIBER["messages"][0] | {"webhooks": webhooks}]})
    await infobip.wait_for_reports()

    token = infobip.webhook_token
    assert webhook.paths == [f"/webhooks/infobip?of={name}&token={token}" for name in ("seen", "delivery")]


async def test_a_subscription_reports_with_its_login(infobip, running, sms, webhook):
    infobip.subscribed, infobip.webhook_url = True, webhook.url
    infobip.automatic_reports = AutomaticReports(kinds=("DELIVERED_TO_HANDSET",))
    table = {**infobip.subscription_table, "webhook_token": None}
    async with running(context={"webhook_url": webhook.url}, **table) as plugin:
        webhook.plugin = plugin
        await plugin.send_sms(sms())
        await infobip.wait_for_reports()

    assert [event.status for event in webhook.events] == [Status.DELIVERED]
    assert webhook.paths == ["/webhooks/infobip"]


@pytest.mark.parametrize("subscribed", [False, True])
async def test_forged_and_unsigned_reports_are_refused(infobip, running, sms, webhook, subscribed):
    infobip.subscribed, infobip.webhook_url = subscribed, webhook.url
    table = {**infobip.subscription_table, "webhook_token": None} if subscribed else infobip.table
    async with running(**table) as plugin:
        webhook.plugin = plugin
        await plugin.send_sms(sms())
        events = [
            infobip.event(kind, infobip.taken[0]) for kind in ("PENDING_ENROUTE", "DELIVERED_TO_HANDSET")
        ]

        assert await infobip.report(events, tampering="forged") == [401]
        assert await infobip.report(events, tampering="unsigned") == [401]
        assert webhook.events == []
        assert await infobip.report(events, batch=1, copies=2, shuffled=random.Random(7)) == [200] * 4

    assert sorted(event.status for event in webhook.events) == [
        "accepted",
        "accepted",
        "delivered",
        "delivered",
    ]
