"""Reports that name a recipient and no message, such as a STOP."""

import asyncio
import sqlite3

import pytest
import structlog

import reporting_plugin
from gatepost.errors import Unavailable
from gatepost.model import Contact, Report, Secret, Status, StatusEvent
from gatepost.plugin_host import discovery

NUMBER = "+447700900100"
ADDRESS = "anna@players.example"


@pytest.fixture
def use(deployment, monkeypatch):
    """Return a function that makes a class the plugin of an instance."""
    classes = {}
    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: classes.get(use) or load(use))

    def use(name, plugin):
        classes[name] = plugin
        deployment.tables[f"plugins.{name}"] = {"use": name}
        return plugin

    return use


@pytest.fixture
def plugin(use):
    return use("acme", reporting_plugin.fresh())


@pytest.fixture
def source(use, deployment):
    """Return the class of a source that knows anna."""
    contact = Contact(email=Secret(ADDRESS), phone=Secret(NUMBER))
    deployment.tables["contacts"] = {"sources": ["crm"], "timeout": 60.0}
    return use("crm", reporting_plugin.fresh_source(anna=contact))


@pytest.fixture
def stop(deployment, plugin):
    """Return a function that reports a status of recipients, and returns the HTTP status of the answer."""

    async def stop(gateway, *recipients, status=Status.UNSUBSCRIBED, code="STOP", more=(), name="acme"):
        events = [StatusEvent(status=status, recipient=Secret(one), code=code) for one in recipients]
        plugin.translate = staticmethod(lambda _request: Report(events=[*more, *events]))
        async with gateway.http.post(f"{gateway.url}/webhooks/{name}") as response:
            return response.status

    return stop


async def events_of(gateway, kind, name="acme"):
    return (await gateway.metrics())["gatepost_reported_events_total", kind, name]


@pytest.mark.parametrize("written", [NUMBER, "+44 7700 900 100"])
async def test_a_stop_is_recorded_for_the_users_last_message(deployment, plugin, source, stop, written):
    async with deployment.running(sms=["acme"], email=["acme"]) as gateway:
        first = await deployment.sms(im_uid="1")
        last = await deployment.sms(im_uid="2")
        mail = await deployment.email()
        for one in (first, last, mail):
            await deployment.hears(one, "accepted")
        assert await stop(gateway, written) == 200
        await deployment.hears(last, "accepted", "unsubscribed")
        await gateway.settled()
        assert deployment.crm.statuses_of(first) == ["accepted"]
        assert deployment.crm.statuses_of(mail) == ["accepted"]
        assert source.questions == [("crm", "sms", NUMBER)]
        assert await stop(gateway, written) == 200
        assert await events_of(gateway, "unsubscribed") == 2
        assert await events_of(gateway, "repeated") == 1


async def test_an_address_means_the_last_email(deployment, plugin, source, stop):
    async with deployment.running(sms=["acme"], email=["acme"]) as gateway:
        mail, text = await deployment.email(), await deployment.sms()
        for one in (mail, text):
            await deployment.hears(one, "accepted")
        assert await stop(gateway, "anna@PLAYERS.example", status=Status.COMPLAINED) == 200
        await deployment.hears(mail, "accepted", "complained")
        await gateway.settled()
        assert deployment.crm.statuses_of(text) == ["accepted"]
        assert source.questions == [("crm", "email", ADDRESS)]


async def test_a_stop_suppresses_the_user_by_the_csv_file(deployment, plugin, stop):
    deployment.tables["delivery"]["suppress"] = ["unsubscribed"]
    deployment.contacts = f"ext_user_id,email,phone\nanna,{ADDRESS},+44 (0)7700 900100\nbob,,+447700900101\n"
    async with deployment.running(sms=["acme"]) as gateway:
        message, other = await deployment.sms(), await deployment.sms("bob", im_uid="bob")
        await deployment.hears(message, "accepted")
        await deployment.hears(other, "accepted")
        assert await stop(gateway, NUMBER) == 200
        await deployment.hears(message, "accepted", "unsubscribed")
        answer = await deployment.crm.send_sms(ext_user_id="anna", im_uid="next", from_number="Brand")
        assert answer["error_code"] == 13
        await deployment.sms("bob", im_uid="next bob")


@pytest.fixture
def profiles(use, deployment, source):
    """Return the class of a source that completes ``source``, which knows no number of bob and another one of anna."""
    source.users["bob"] = Contact(email=Secret("bob@players.example"))
    deployment.tables["contacts"]["sources"] = ["crm", "profiles"]
    numbers = {"bob": "+44 7700 900155", "anna": "+447700900177", "carl": "+447700900177"}
    found = use(
        "profiles",
        reporting_plugin.fresh_source(
            **{
                user: Contact(email=Secret("BOB@players.example"), phone=Secret(one))
                for user, one in numbers.items()
            }
        ),
    )
    deployment.tables["plugins.profiles"]["merge"] = True
    return found


async def test_a_stop_from_a_number_that_only_a_merging_source_has(deployment, plugin, profiles, stop):
    profiles.answer = ["bob"]
    async with deployment.running(sms=["acme"]) as gateway:
        message = await deployment.sms("bob")
        await deployment.hears(message, "accepted")
        assert await stop(gateway, "+447700900155") == 200
        await deployment.hears(message, "accepted", "unsubscribed")


async def test_a_number_that_is_not_used_for_a_user_means_somebody_else(deployment, plugin, profiles, stop):
    """Of anna the first source has another number; the old one has become that of carl."""
    async with deployment.running(sms=["acme"]) as gateway:
        theirs, last = (
            await deployment.sms("carl", im_uid="carl"),
            await deployment.sms("anna", im_uid="anna"),
        )
        for one in (theirs, last):
            await deployment.hears(one, "accepted")
        assert await stop(gateway, "+447700900177") == 200
        await deployment.hears(theirs, "accepted", "unsubscribed")
        await gateway.settled()
        assert deployment.crm.statuses_of(last) == ["accepted"]


async def test_an_address_in_another_case_is_the_same(deployment, plugin, profiles, source, stop):
    source.answer = []
    profiles.answer = ["bob"]
    async with deployment.running(email=["acme"]) as gateway:
        mail = await deployment.email("bob")
        await deployment.hears(mail, "accepted")
        assert await stop(gateway, "Bob@players.example", status=Status.COMPLAINED) == 200
        await deployment.hears(mail, "accepted", "complained")


@pytest.mark.parametrize("recipient", ["+447700900199", "nobody@players.example"])
async def test_an_unknown_user_is_counted(deployment, plugin, source, stop, recipient):
    async with deployment.running(sms=["acme"], email=["acme"]) as gateway:
        assert await stop(gateway, recipient) == 200
        assert await events_of(gateway, "unknown") == 1


async def test_a_user_without_a_message_of_this_instance_is_counted(deployment, plugin, source, stop):
    deployment.tables["plugins.other"] = {"use": "acme"}
    async with deployment.running(sms=["other", "acme"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        assert await stop(gateway, NUMBER) == 200
        assert await events_of(gateway, "unknown") == 1
        assert await stop(gateway, NUMBER, name="other") == 200
        await deployment.hears(message, "accepted", "unsubscribed")


@pytest.mark.parametrize(
    "recipient", ["07700900100", "447700900100", "STOP", "@", "a@b@c", "+44" * 500, "\n"]
)
async def test_what_is_no_recipient_is_counted_and_nobody_is_asked(
    deployment, plugin, source, stop, recipient
):
    deployment.tables["contacts"]["default_region"] = "GB"
    async with deployment.running(sms=["acme"], email=["acme"]) as gateway:
        assert await stop(gateway, recipient) == 200
        assert await events_of(gateway, "ignored.invalid") == 1
        assert await events_of(gateway, "unknown") == 0
        assert source.questions == []
        assert (await gateway.metrics())["gatepost_plugin_violations_total", "acme"] == 0


@pytest.mark.parametrize("down", [Unavailable("in maintenance"), RuntimeError("a bug")])
async def test_while_a_source_is_down_the_provider_repeats(deployment, plugin, source, stop, down):
    async with deployment.running(sms=["acme"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        delivered = StatusEvent(status=Status.DELIVERED, message_id=message)
        source.answer = down
        assert await stop(gateway, NUMBER, more=[delivered]) == 429
        # What names its message is recorded already.
        await deployment.hears(message, "accepted", "delivered")
        with pytest.raises(Unavailable, match="a contact source"):
            await plugin.contexts["acme"].report(plugin.translate(None))
        source.answer = None
        assert await stop(gateway, NUMBER, more=[delivered]) == 200
        await deployment.hears(message, "accepted", "delivered", "unsubscribed")


async def test_an_own_report_may_name_a_recipient(deployment, plugin, source):
    async with deployment.running(sms=["acme"]):
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        event = StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(NUMBER))
        await plugin.contexts["acme"].report(Report(events=[event]))
        await deployment.hears(message, "accepted", "unsubscribed")


async def test_an_id_that_is_known_goes_before_the_recipient(deployment, plugin, source):
    """The source is asked only where the ids of an event are unknown, such as those of a message that was deleted."""
    async with deployment.running(sms=["acme"]) as gateway:
        first = await deployment.sms(im_uid="1")
        last = await deployment.sms(im_uid="2")
        for one in (first, last):
            await deployment.hears(one, "accepted")
        named = {"status": Status.UNSUBSCRIBED, "recipient": Secret(NUMBER)}
        report = plugin.contexts["acme"].report
        await report(Report(events=[StatusEvent(message_id=first, **named)]))
        await deployment.hears(first, "accepted", "unsubscribed")
        assert source.questions == []
        await report(Report(events=[StatusEvent(message_id="gone", provider_id="p", **named)]))
        await deployment.hears(last, "accepted", "unsubscribed")
        assert source.questions == [("crm", "sms", NUMBER)]
        assert await events_of(gateway, "unknown") == 0


async def test_only_sources_of_clients_with_a_route_to_the_instance_are_asked(deployment, use, plugin, stop):
    """Each brand has a user 42; only the brand that uses this provider may be meant."""
    contact = Contact(phone=Secret(NUMBER))
    ours, theirs = (use(name, reporting_plugin.fresh_source(anna=contact)) for name in ("ours", "theirs"))
    deployment.tables["plugins.second"] = {"use": "acme"}
    brand = deployment.tables["clients.brand"]
    deployment.tables["clients.brand"] = {**brand, "contacts": ["ours"]}
    deployment.tables["clients.other"] = {**brand, "authorization": ["other"], "contacts": ["theirs"]}
    deployment.tables["routes.sms"] = [
        {"name": "theirs", "clients": ["other"], "use": ["second"]},
        {"name": "ours", "clients": ["brand"], "use": ["acme"]},
    ]
    del deployment.tables["contacts"]
    async with deployment.running() as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        theirs.answer = Unavailable("down")
        assert await stop(gateway, NUMBER) == 200
        await deployment.hears(message, "accepted", "unsubscribed")
        assert theirs.questions == []
        theirs.answer = None
        assert await stop(gateway, NUMBER, name="second") == 200
        assert await events_of(gateway, "unknown", "second") == 1
        assert [name for name, *_ in ours.questions + theirs.questions] == ["ours", "theirs"]


async def test_a_source_of_several_clients_is_asked_once(deployment, source, plugin, stop):
    brand = deployment.tables["clients.brand"]
    deployment.tables["clients.other"] = {**brand, "authorization": ["other"]}
    deployment.tables["contacts"]["shared"] = True
    async with deployment.running(sms=["acme"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        assert await stop(gateway, NUMBER, NUMBER) == 200
        await deployment.hears(message, "accepted", "unsubscribed")
    assert source.questions == [("crm", "sms", NUMBER)]


async def test_a_source_that_does_not_know_whose_a_number_is_is_not_asked(deployment, use, plugin, stop):
    source = reporting_plugin.fresh_source(anna=Contact(phone=Secret(NUMBER)))
    source.find_user = None
    use("crm", source)
    deployment.tables["contacts"] = {"sources": ["crm"]}
    async with deployment.running(sms=["acme"]) as gateway:
        await deployment.hears(await deployment.sms(), "accepted")
        assert await stop(gateway, NUMBER) == 200
        assert await events_of(gateway, "unknown") == 1


async def hang(_recipient):
    await asyncio.Event().wait()


class Sneaky(list):
    """A list that is longer when it is read than when it was measured."""

    def __len__(self):
        return 1


class Text(str):
    __slots__ = ()

    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("anna", "returned str"),
        (None, ""),
        (iter(["anna"]), "returned list_iterator"),
        ({"anna": 1}, "returned dict"),
        (["anna", 7], "not a text of 1 to 512 characters"),
        (["anna", ""], "not a text of 1 to 512 characters"),
        (["x" * 513], "not a text of 1 to 512 characters"),
        ([Text("x" * 513)], "not a text of 1 to 512 characters"),
        # No store can hold these, and a text with one cut off may be another user.
        (["anna\0"], "not a text of 1 to 512 characters"),
        (["anna", "\ud83d"], "not a text of 1 to 512 characters"),
        (["anna"] * 101, "more than 100"),
        (Sneaky(["anna"] * 101), "more than 100"),
        (SystemExit(NUMBER), "raised SystemExit"),
        (ValueError(NUMBER), "raised ValueError"),
        (asyncio.CancelledError(NUMBER), "cancelled itself"),
        (hang, "took longer than 3 s"),
    ],
    ids=range(16),
)
async def test_a_source_that_breaks_the_contract_is_a_violation_and_the_provider_repeats(
    deployment, plugin, source, stop, answer, problem
):
    if answer is hang:
        deployment.tables["contacts"]["timeout"] = 3.0
    async with deployment.running(sms=["acme"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        source.answer = answer
        with structlog.testing.capture_logs() as logged:
            assert await stop(gateway, NUMBER) == (429 if problem else 200)
        violations = [one for one in logged if one["event"] == "plugin_violation"]
        assert [(one["instance"], one["hook"]) for one in violations] == [("crm", "find_user")] * bool(
            problem
        )
        assert all(problem in one["problem"] for one in violations)
        source.answer = None
        assert await stop(gateway, NUMBER) == 200
        await deployment.hears(message, "accepted", "unsubscribed")


@pytest.mark.parametrize("size", [100, 512])
async def test_the_limits_of_find_user_are_kept_exactly(deployment, plugin, source, stop, size):
    users = ["anna", *(f"{n:03}" for n in range(size - 1))] if size == 100 else ["anna", "x" * size]
    async with deployment.running(sms=["acme"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        source.answer = users
        assert await stop(gateway, NUMBER) == 200
        await deployment.hears(message, "accepted", "unsubscribed")


async def test_a_thousand_recipients_in_one_report(deployment, plugin, source, stop):
    async with deployment.running(sms=["acme"]) as gateway:
        message = await deployment.sms()
        await deployment.hears(message, "accepted")
        numbers = [f"+4477018{n:05}" for n in range(1000)]
        assert await stop(gateway, *numbers, NUMBER) == 200
        await deployment.hears(message, "accepted", "unsubscribed")
        assert await events_of(gateway, "unknown") == 1000


async def test_the_recipient_is_in_no_log_store_or_metric(deployment, plugin, source, stop, capfd):
    async with deployment.running(sms=["acme"], email=["acme"]) as gateway:
        text, mail = await deployment.sms(), await deployment.email()
        for one in (text, mail):
            await deployment.hears(one, "accepted")
        for recipient in (NUMBER, ADDRESS):
            code = f"STOP {recipient}"
            source.answer = Unavailable(f"no answer about {recipient}", code=recipient)
            assert await stop(gateway, recipient, code=code) == 429
            source.answer = None
            assert await stop(gateway, recipient, code=code) == 200
        await deployment.hears(text, "accepted", "unsubscribed")
        await deployment.hears(mail, "accepted", "unsubscribed")
        async with gateway.http.get(f"{gateway.url}/metrics") as response:
            metrics = await response.text()
    with sqlite3.connect(deployment.folder / "gatepost.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (codes,) = zip(
            *database.execute("SELECT code FROM statuses WHERE status = 'unsubscribed'"), strict=True
        )
    database.close()
    store = b"".join(file.read_bytes() for file in deployment.folder.glob("gatepost.db*"))
    log = "".join(capfd.readouterr())
    for private in ("7700900100", "anna@", "players.example"):
        assert private not in log
        assert private not in metrics
        assert private.encode() not in store
    assert codes == ("STOP [redacted]", "STOP [redacted]")
