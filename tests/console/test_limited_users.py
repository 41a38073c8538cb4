"""Users who are limited to some clients: on no page and by no form do they learn or change anything of another one.

Every page is read before and after another client has traffic, failures and operators: to them it must be the same page.
"""

import asyncio
import html
import re

import pytest
from sqlalchemy import select, update

from console_site import CONFIG, open_site
from gatepost.callbacks.slots import RestingTarget
from gatepost.errors import Unavailable
from gatepost.model import Channel, Status
from gatepost.outbox import RetryOrder, cancellations, pauses
from gatepost.outbox import refusals as refused
from gatepost.outbox.cancellations import CancelIds, CancelStep
from gatepost.outbox.console_users import ConsoleUser, UserChange, put_user
from gatepost.outbox.limits import client_limits
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.pauses import PauseOrder, Scope
from gatepost.outbox.refusals import Refusal
from gatepost.outbox.schema import messages, metadata, statuses
from gatepost.outbox.states import State
from gatepost.outbox.suppressions import NewSuppression
from gatepost.outbox.suppressions import add as suppress

RULES = """
[[routes.email]]
name = "polar"
clients = ["other"]
use = ["polar-box"]
[[routes.email]]
name = "common"
use = ["box"]
[[routes.sms]]
name = "texts"
use = ["box"]
[plugins.polar-box]
use = "sandbox"
folder = "polar"
"""

OF_OTHER = ("polar", "veiled", "veileduser", "b.example", "secret reason")
"""What stands only in what is of the other client: its route and plugin, uids, users, hosts, and words."""

PAGES = [
    "/",
    "/messages",
    "/messages?refused=1",
    "/messages?dead=1",
    "/messages?state=held&state=queued",
    "/messages?client=other",
    "/messages?user=veileduser",
    "/plugins",
    "/callbacks",
    "/callbacks?client=other",
    "/callbacks?target=b.example:443",
    "/stats?by=client,channel,route,plugin,country,status",
    "/stats?by=hour&period=24h",
    "/stats.csv?by=client,channel,route,plugin,country",
    "/audit",
    "/audit?actor=maria",
    "/audit?operation=suppress-add",
    "/messages/{own}",
    "/messages/{waiting}",
]


@pytest.fixture
async def site(url, tmp_path, new):
    routes = CONFIG[CONFIG.index("[routes]") : CONFIG.index("[plugins.players]")]
    async with open_site(url, tmp_path, new, CONFIG.replace(routes, "") + RULES) as site:
        yield site


async def pages(site, ids, user):
    """Return every page as this user sees it, read anew."""
    site.services.recent._values.clear()
    texts = {}
    for path in PAGES:
        _, text = await site.get(path.format(**ids), user)
        texts[path] = re.sub(r'(value|Token": )="\w{64}"', "", text)
    return texts


async def give_up(site, client):
    def dead(tx, items):
        tx.connection.execute(
            update(statuses).where(statuses.c.client == client).values(callback_state="dead", due_at=None)
        )
        return items

    await site.outbox.change(dead, None)


async def own_traffic(site):
    """Send messages of the client brand; return their ids."""
    own = await site.send(Status.DELIVERED, route="common", ext_user_id="anna")
    # Of the other channel, so that nothing of the other client is claimed in its place.
    waiting = await site.wait(route="texts", channel=Channel.SMS, ext_user_id="bob")
    await site.outbox.change(pauses.pause, PauseOrder(Scope(client="brand", channel=Channel.SMS), "olga"))
    return {"own": own, "waiting": waiting}


async def traffic_of_other(site):
    """Do everything of which something could be seen; return the ids of the messages."""
    of_other = {"client": "other", "ext_user_id": "veileduser", "callback_url": "https://b.example/veiled"}
    sent = [
        await site.send(
            Status.DELIVERED, route="polar", instance="polar-box", uid=f"veiled-{number}", **of_other
        )
        for number in range(3)
    ]
    sent.append(await site.send(Status.FAILED, route="common", uid="veiled-common", **of_other))
    waiting = await site.wait(
        route="polar", uid="veiled-waits", limits=client_limits("other", Channel.EMAIL, 1), **of_other
    )
    held = await site.wait(route="common", uid="veiled-held", **of_other)

    def hold(tx, items):
        tx.connection.execute(update(messages).where(messages.c.id == held).values(state=State.HELD.value))
        return items

    await site.outbox.change(hold, None)
    await give_up(site, "other")
    await site.outbox.change(
        refused.add, [Refusal("other", "email", "veiled-refused", "veileduser", 10, "secret reason")]
    )
    order = NewSuppression("other", "veileduser", "secret reason", "maria")
    await site.outbox.change(suppress, order)
    for scope in (Scope(client="other"), Scope(route="polar"), Scope(plugin="polar-box")):
        await site.outbox.change(pauses.pause, PauseOrder(scope, "maria", "secret reason"))
    await site.outbox.retry(RetryOrder([sent[0], held], "olga (console)", dict.fromkeys(Channel, 60.0)))
    await site.outbox.tell(RetryOrder([sent[1]], "maria"))
    await give_up(site, "other")
    await site.outbox.cancel(cancellations.cancel_by_ids, CancelIds([sent[2]], "maria", "secret reason"))
    for wanted in (MessageFilter(client="other", text="veiled"), MessageFilter(route="polar", user="none")):
        await site.outbox.cancel(cancellations.cancel, CancelStep(wanted, "maria", "secret reason"))
    user = ConsoleUser(name="veiled", role="viewer", clients=["other"])
    await site.outbox.change(put_user, UserChange(user, "test"))
    rest = RestingTarget("b.example:443", seconds=9, failing_for=700, reason="secret reason")
    site.admin.callbacks.resting_targets = lambda: [("other", rest), ("", rest)]
    throttle, now = site.admin.throttles["polar-box"], asyncio.get_running_loop().time()
    throttle.begin(now)
    throttle.end(now, Unavailable("secret reason", retry_after=900))
    return [*sent, waiting, held]


async def test_every_page_of_the_console_is_among_these(site):
    known = {path.partition("?")[0] for path in PAGES} | {"/messages/{message_id:str}"}
    of_batches = {"/messages/batch/{token:str}"}
    assert site.paths("GET") - {"/login", "/static/{file_path:path}"} - of_batches <= known
    assert site.paths("POST") - {"/login", "/logout"} == set(ACTS)


async def test_what_is_of_another_client_changes_no_page(site):
    ids = await own_traffic(site)
    before = {user: await pages(site, ids, user) for user in ("vera", "olga")}
    everything = await pages(site, ids, "maria")
    foreign = await traffic_of_other(site)
    for user, texts in before.items():
        for path, text in (await pages(site, ids, user)).items():
            # That something else needs a hand, and nothing of what it is.
            shown = text.replace(OTHERS, "") if path == "/" else text
            assert shown.replace(VERDICT, FINE) == texts[path], (user, path)
            assert not [one for one in foreign if one in text]
    # Whoever sees all clients sees a difference on each page: the comparison is one.
    seen = await pages(site, ids, "maria")
    same = {path for path in PAGES if seen[path] == everything[path]}
    assert same <= {"/messages/{own}", "/messages/{waiting}", "/audit?operation=suppress-add"}, same
    for word in OF_OTHER:
        assert any(word in text for text in seen.values()), word


async def test_no_form_changes_or_shows_anything_of_another_client(site):
    await own_traffic(site)
    foreign = await traffic_of_other(site)
    before = await contents(site, "other")
    csrf = re.search(r'name="csrf" value="(\w+)"', (await site.get("/", "olga"))[1])[1]
    for path, forms in ACTS.items():
        for form in forms:
            for identity in foreign if "{" in path or "{id}" in form.values() else [""]:
                place = re.sub(r"\{\w+:str\}", identity, path, count=1)
                places = [
                    re.sub(r"\{\w+:str\}", name, place) for name in ("cancel", "retry", "tell", "suppress")
                ]
                for one in dict.fromkeys(places):
                    fields = {name: value.format(id=identity) for name, value in form.items()}
                    answer = await site.http.post(
                        one, data={"csrf": csrf, **fields}, headers={"x-user": "olga"}, follow_redirects=True
                    )
                    text = answer.text
                    for value in fields.values():
                        text = text.replace(html.escape(value), "") if value else text
                    assert not [word for word in (*OF_OTHER, *foreign) if word in text], (
                        one,
                        fields,
                        answer.url,
                        text,
                    )
                    assert answer.status_code < 500
    await asyncio.sleep(0)
    assert await contents(site, "other") == before


async def test_a_change_of_many_messages_stops_at_the_clients_that_the_user_sees(site):
    await own_traffic(site)
    await traffic_of_other(site)
    before = await contents(site, "other")
    csrf = re.search(r'name="csrf" value="(\w+)"', (await site.get("/", "olga"))[1])[1]
    for operation in ("tell", "retry", "cancel"):
        fields = {"csrf": csrf, "operation": operation, "since": "7d"}
        batch = await post(site, "/messages/batch", fields)
        if operation == "cancel":
            assert "Cancel 1 message" in batch.text
            await post(site, batch.url.path, {"csrf": csrf, "number": "1"})
        else:
            assert "No message can be changed" in batch.text
    assert await contents(site, "other") == before
    assert [row["state"] for row in (await contents(site, "brand"))["messages"]].count("cancelled") == 1


async def test_a_change_that_was_prepared_before_the_user_was_limited_is_not_made(site):
    await traffic_of_other(site)
    csrf = re.search(r'name="csrf" value="(\w+)"', (await site.get("/"))[1])[1]
    fields = {"csrf": csrf, "operation": "tell", "since": "7d"}
    batch = await post(site, "/messages/batch", fields, "maria")
    limited = ConsoleUser(name="maria", role="operator", clients=["brand"])
    await site.outbox.change(put_user, UserChange(limited, "test"))
    number = re.search(r'name="number" value="(\d+)"', batch.text)[1]
    assert int(number) > 1
    answer = await site.http.post(
        batch.url.path, data={"csrf": csrf, "number": number}, headers={"x-user": "maria"}
    )
    assert answer.status_code == 404


async def post(site, path, fields, user="olga"):
    """Send a form; return the page that follows as soon as nothing goes on there by itself."""
    answer = await site.http.post(path, data=fields, headers={"x-user": user}, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    while 'hx-trigger="every 1s"' in answer.text:
        await asyncio.sleep(0.01)
        answer = await site.http.get(answer.url.path, headers={"x-user": user})
    return answer


async def contents(site, client):
    """Return all rows of the store that name this client."""

    def read(connection):
        return {
            name: [
                dict(row)
                for row in connection.execute(select(table).where(table.c.client == client)).mappings()
            ]
            for name, table in metadata.tables.items()
            if "client" in table.c
        }

    return await site.reader.read(read)


OTHERS = (
    "<li>Something else needs an operator who sees all clients: <code>gatepost status</code> names it.</li>"
)
VERDICT = """\
  <section class="card bad">
    <h2 data-announce>Look at this now</h2>
    <ul>
    </ul>
  </section>
"""
FINE = """\
  <section class="card good"><h2 data-announce>Everything is fine</h2></section>
"""

ACTS = {
    "/messages": [{"id": "{id}"}, {"id": "veiled-1"}, {"id": "veiled-refused"}],
    "/messages/{message_id:str}/{operation:str}": [{"reason": "why"}],
    "/messages/batch": [{"operation": "tell", "client": "other"}],
    "/messages/batch/{token:str}": [{"number": "1"}],
    "/plugins/pause": [
        {"client": "other"},
        {"plugin": "polar-box"},
        {"route": "polar", "client": "brand"},
        {"plugin": "box"},
        {"channel": "email"},
    ],
    "/plugins/resume": [
        {"client": "other"},
        {"route": "polar"},
        {"plugin": "polar-box"},
        {},
    ],
    "/callbacks/tell": [
        {"message": "{id}"},
        {"client": "other", "until": "9999999999999"},
        {"target": "b.example:443", "until": "9999999999999"},
        {"until": "9999999999999"},
    ],
}
"""Each path that takes a form, and the forms that mean something of the other client."""
