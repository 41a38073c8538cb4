import asyncio
import contextlib
import logging
import sys
from urllib.parse import quote

import anyio
import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gatepost import app
from gatepost.config.settings import InstanceSettings
from gatepost.config.toml_file import read_settings
from gatepost.errors import (
    BadSignature,
    BadWebhook,
    ConfigError,
    Fault,
    NoVerificationKey,
    Rejected,
    SendError,
    Unavailable,
    Uncertain,
    WebhookError,
    WebhookRetry,
)
from gatepost.hookspecs import HOOKS, ContactSource, EmailSender, hookimpl
from gatepost.model import (
    Channel,
    Contact,
    Email,
    Mailbox,
    Receipt,
    Report,
    Secret,
    Sms,
    Status,
    StatusEvent,
    WebhookRequest,
)
from gatepost.observe import logs
from gatepost.plugin_host import instances, isolation, sanitize
from gatepost.plugin_host.discovery import installed, settings_type
from gatepost.plugin_host.instances import Instance
from gatepost.plugin_host.startup import OpenInstances, build_instances

EMAIL = Email(
    id="0" * 36,
    recipient=Secret("joe.bloggs@example.com"),
    sender=Mailbox("shop@example.org"),
    subject="Hello",
    html="",
    text="Hello",
    lifetime=60.0,
    attributes={"city": "Valletta"},
)
SMS = Sms(id="1" * 36, recipient=Secret("+447700900123"), sender=None, text="Hello", lifetime=60.0)
REQUEST = WebhookRequest(method="POST", url="/", headers={}, body=b"", received_at=0.0)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The core's own timeouts, shortened so that no test waits for a plugin that hangs."""
    monkeypatch.setattr(instances, "SEND_OVERRUN", 0.0)
    monkeypatch.setattr(isolation, "CANCEL_TIMEOUT", 0.01)


@pytest.fixture
def logged(monkeypatch):
    with structlog.testing.capture_logs() as entries:
        monkeypatch.setattr(isolation, "_log", structlog.get_logger())
        yield entries


class Fake:
    """A plugin whose hooks raise the given error, await the given function, or return the given value."""

    def __init__(self, does=None):
        self.does = does

    async def run(self):
        if isinstance(self.does, BaseException):
            raise self.does
        return await self.does() if callable(self.does) else self.does

    @hookimpl
    async def send_email(self, message):
        return await self.run()

    @hookimpl
    async def send_sms(self, message):
        return await self.run()

    @hookimpl
    async def find_contact(self, ext_user_id):
        return await self.run()

    @hookimpl
    async def parse_webhook(self, request):
        return await self.run()

    @hookimpl
    async def ping(self):
        await self.run()


@contextlib.asynccontextmanager
async def open_instances(instances, close_timeout=isolation.default_close_timeout):
    opened = OpenInstances(close_timeout)
    await opened.open(instances)
    try:
        yield opened
    finally:
        await opened.close_all()


def instance(plugin, name="relay", timeout=5.0):
    return Instance(InstanceSettings(name=name, use="fake", timeout=timeout), plugin)


async def hang():
    await asyncio.Event().wait()


async def ignore_cancellation():
    for _ in range(3):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.03)


async def cancel_itself():
    raise asyncio.CancelledError


async def return_an_error():
    return Rejected("returned, not raised")


class OddError(SendError):
    """An error whose constructor does not call that of its parent."""

    def __init__(self):
        pass


class OddRejected(Rejected):
    def __init__(self):
        Exception.__init__(self, "joe.bloggs@example.com")


MISBEHAVIOUR = [
    RuntimeError("joe.bloggs@example.com"),
    SendError("the base class"),
    OddError(),
    SystemExit(1),
    KeyboardInterrupt(),
    BaseExceptionGroup("both", [SystemExit(1), ValueError("x")]),
    TimeoutError(),
    WebhookError("the base class"),
    cancel_itself,
    hang,
    ignore_cancellation,
    17,
    "a text",
]


def case_id(does):
    """Return the id of a test: the same in every process, unlike the repr of a function."""
    return getattr(does, "__name__", None) or repr(does)


def timeout_for(does):
    return 0.01 if does in (hang, ignore_cancellation) else 5.0


class TestSend:
    @pytest.mark.parametrize(("message", "channel"), [(EMAIL, Channel.EMAIL), (SMS, Channel.SMS)])
    async def test_a_receipt_comes_back(self, message, channel):
        it = instance(Fake(Receipt("id-1")))
        assert channel in it.channels
        assert await it.send(message) == Receipt("id-1")

    @pytest.mark.parametrize("does", [*MISBEHAVIOUR, None, return_an_error], ids=case_id)
    async def test_a_violation_is_uncertain_logged_and_counted(self, does, logged):
        it = instance(Fake(does), timeout=timeout_for(does))
        with pytest.raises(Uncertain):
            await it.send(EMAIL)
        assert logged[0]["event"] == "plugin_violation"
        assert it.violations == len(logged)
        assert (logged[0]["instance"], logged[0]["hook"]) == ("relay", "send_email")
        assert "bloggs" not in repr(logged)

    async def test_a_plugin_that_ignores_its_cancellation_is_abandoned(self, logged):
        it = instance(Fake(ignore_cancellation), timeout=0.01)
        with pytest.raises(Uncertain):
            await it.send(EMAIL)
        assert "ignores its cancellation" in repr(logged)
        await asyncio.gather(*it._runner._abandoned)

    @pytest.mark.parametrize("message", [EMAIL, SMS])
    @pytest.mark.parametrize("kind", [Rejected, Unavailable, Uncertain])
    async def test_errors_pass_without_the_recipient(self, kind, message):
        who = message.recipient.reveal()
        error = kind(f"550 <{who}> in Valletta\r\n{'x' * 400}", code=f"550 {who}" + "9" * 300)
        with pytest.raises(kind) as raised:
            await instance(Fake(error)).send(message)
        assert type(raised.value) is kind
        shown = raised.value.reason + raised.value.code + repr(raised.value)
        assert who not in shown
        assert message is SMS or "Valletta" not in shown
        assert raised.value.reason.startswith("550 <[redacted]> in ")
        assert raised.value.reason.isprintable()
        assert len(raised.value.reason) <= 200
        assert len(raised.value.code) <= 64
        assert raised.value.__cause__ is raised.value.__context__ is None

    async def test_an_smtp_code_is_not_taken_for_a_phone_number(self):
        with pytest.raises(Rejected) as raised:
            await instance(Fake(Rejected("refused", code="550 5.7.26"))).send(EMAIL)
        assert raised.value.code == "550 5.7.26"

    async def test_a_code_of_a_type_of_the_plugins_own_is_copied(self):
        class Code(str):
            __slots__ = ()

        with pytest.raises(Rejected) as raised:
            await instance(Fake(Rejected("refused", code=Code("550 5.7.26")))).send(EMAIL)
        assert type(raised.value.code) is str

    async def test_a_huge_reason_is_cut_without_showing_an_address(self):
        reason = "x" * 7_980 + "@example.com jack@example.com"
        with pytest.raises(Rejected) as raised:
            await instance(Fake(Rejected(reason))).send(EMAIL)
        assert raised.value.reason == "[redacted]"

    async def test_a_subclass_without_its_parents_constructor_keeps_its_type(self):
        with pytest.raises(Rejected) as raised:
            await instance(Fake(OddRejected())).send(EMAIL)
        assert (raised.value.reason, raised.value.code) == ("", "")

    @pytest.mark.parametrize(
        ("retry_after", "copied"),
        [(30, 30), (None, None), (float("nan"), None), (float("inf"), None), ("9", None)],
    )
    async def test_retry_after_is_copied_when_it_is_a_finite_number(self, retry_after, copied):
        with pytest.raises(Unavailable) as raised:
            await instance(Fake(Unavailable("no", retry_after=retry_after, misconfigured=True))).send(EMAIL)
        assert raised.value.retry_after == copied
        assert raised.value.misconfigured

    @pytest.mark.parametrize(
        "provider_id", ["x" * 256, 17, None, "a\x00b", "a\udcffb", "sent-to-joe.bloggs@example.com"]
    )
    async def test_an_unusable_provider_id_is_dropped_and_the_message_is_sent(self, provider_id, logged):
        assert await instance(Fake(Receipt(provider_id))).send(EMAIL) == Receipt()
        assert logged[0]["event"] == "plugin_violation"

    async def test_a_provider_id_with_the_phone_number_is_dropped(self, logged):
        assert await instance(Fake(Receipt("447700900123-1"))).send(SMS) == Receipt()

    async def test_a_cancelled_send_cancels_the_hook(self):
        begun, ended = asyncio.Event(), asyncio.Event()

        async def wait():
            begun.set()
            try:
                await hang()
            finally:
                ended.set()

        task = asyncio.create_task(instance(Fake(wait)).send(EMAIL))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    async def test_the_recipient_is_redacted_while_the_plugin_runs(self, caplog):
        async def leak():
            logging.getLogger("vendor").error(
                "sending to %s", instances.redaction.redact("JOE.BLOGGS in valletta")
            )
            return Receipt()

        await instance(Fake(leak)).send(EMAIL)
        assert "[redacted] in [redacted]" in caplog.text

    async def test_what_a_plugin_changes_in_a_message_reaches_no_later_try(self):
        """A repeat has identical bytes, and the next plugin of the route is another one."""
        seen = []

        class Changing(Fake):
            @hookimpl
            async def send_email(self, message):
                seen.append((dict(message.headers), dict(message.attributes)))
                message.headers["X-Try"] = message.attributes["try"] = "1"
                return Receipt()

        it = instance(Changing())
        for _ in range(2):
            await it.send(EMAIL)
        assert seen == [({}, {"city": "Valletta"})] * 2


class TestFindContact:
    async def test_a_contact_or_none_comes_back(self):
        contact = Contact(email=Secret("joe@example.com"), attributes={"city": "Valletta"})
        assert await instance(Fake(contact)).as_source.find_contact("joe", 5.0) == contact
        assert await instance(Fake(None)).as_source.find_contact("joe", 5.0) is None

    @pytest.mark.parametrize(
        "does",
        [
            *MISBEHAVIOUR,
            Rejected("not a source's to say"),
            Contact(email="joe@example.com"),
            Contact(phone=Secret(447700900123)),
            Contact(attributes={"age": 7}),
            Contact(attributes=17),
            Contact(attributes=dict.fromkeys(map(str, range(1_001)), "")),
            Contact(attributes={"bio": "x" * 65_534}),
            Contact(blocked=True),
            Contact(blocked=None),
        ],
        ids=case_id,
    )
    async def test_a_violation_is_unavailable_and_logged(self, does, logged):
        it = instance(Fake(does))
        with pytest.raises(Unavailable):
            await it.as_source.find_contact("joe", timeout_for(does))
        assert logged[0]["hook"] == "find_contact"
        assert it.as_source.failed_lookups == 1

    async def test_the_last_failure_stays_known_when_the_source_answers_again(self):
        it = instance(Fake(Unavailable("the CRM answered 503"))).as_source
        with pytest.raises(Unavailable):
            await it.find_contact("joe", 5.0)
        assert (it.is_failing, it.last_failure.reason) == (True, "the CRM answered 503")
        it._calls = instance(Fake(None)).as_source._calls
        await it.find_contact("joe", 5.0)
        assert (it.is_failing, it.last_failure.reason) == (False, "the CRM answered 503")

    @pytest.mark.parametrize("user", ["joe", "joe/7", "7"])
    async def test_a_failure_does_not_name_the_user(self, user):
        """It is shown by the status and sent by alerts, which people read who have no business with users."""
        failure = (
            f"GET https://crm.example/users/{quote(user, safe='')}?v=17: 503 for {user}, not for {user}s"
        )
        it = instance(Fake(Unavailable(failure))).as_source
        with pytest.raises(Unavailable) as caught:
            await it.find_contact(user, 5.0)
        expected = f"GET https://crm.example/users/[user]?v=17: 503 for [user], not for {user}s"
        assert (caught.value.reason, it.last_failure.reason) == (expected, expected)

    def test_ids_that_a_failure_does_not_name_cost_little(self):
        """A regular expression of all of them would be compiled on the event loop, at each failure."""
        calls = 0

        def count(_frame, event, _argument):
            nonlocal calls
            calls += event == "call"

        users = [f"{number}/{'x' * 490}" for number in range(100)]
        it = instance(Fake(None)).as_source
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            it._note(error := Unavailable(f"503 for {users[7]}"), users)
        finally:
            sys.setprofile(before)
        assert error.reason == "503 for [user]"
        assert calls < 20_000

    async def test_unavailable_is_copied_redacted(self, logged):
        with pytest.raises(Unavailable, match=r"asked for .redacted."):
            await instance(Fake(Unavailable("asked for joe@example.com"))).as_source.find_contact("joe", 5.0)
        assert logged == []

    @pytest.mark.parametrize(
        ("returned", "copied"),
        [
            ("self-excluded", "self-excluded"),
            (" \n", "blocked"),
            ("joe@example.com left", "[redacted] left"),
            ("anna, 07700 900123", "anna, [redacted]"),
            ("said joe.bloggs", "said [redacted]"),
            ("x" * 100_000, "blocked"),
            ("closed " * 99, ("closed " * 99)[:64]),
            ("Joseph asked, says Bloggs-Smythe", "[redacted] asked, says [redacted]"),
            ("josephine stays, bloggs smythe goes", "josephine stays, [redacted] goes"),
            ("Joseph", "[redacted]"),
            # Too short to be told from other words.
            ("VIP of GB", "VIP of GB"),
        ],
    )
    async def test_the_reason_of_a_block_is_clean_and_never_empty(self, returned, copied):
        attributes = {"first": "Joseph", "last": "Bloggs-Smythe", "country": "GB", "level": "VIP"}
        contact = Contact(
            email=Secret("joe.bloggs"), phone=Secret("07700900123"), attributes=attributes, blocked=returned
        )
        assert (await instance(Fake(contact)).as_source.find_contact("joe", 5.0)).blocked == copied


@given(
    st.lists(
        # Letters alone: × and ÷ stand between them.
        st.from_regex(r"[A-Za-zÀ-ÖØ-öø-ž]{4,20}( [A-Za-zÀ-ÖØ-öø-ž]{4,20})?", fullmatch=True).filter(
            lambda value: value not in "[redacted]"
        ),
        min_size=1,
        max_size=5,
    ),
    st.lists(st.sampled_from(("closed", "by", "for", ",", "(", ")", "-", "2027")), max_size=3),
)
def test_no_value_of_an_attribute_is_in_the_reason_of_a_block(values, words):
    attributes = {str(number): value for number, value in enumerate(values)}
    reason = " ".join([*words, values[0], *words])
    copy = sanitize.copy_contact(Contact(attributes=attributes, blocked=reason))
    assert values[0] not in copy.blocked
    assert copy.blocked
    assert copy.attributes == attributes


class InMemory:
    """A source that answers from memory."""

    def __init__(self, does=None):
        self.does = does

    @hookimpl
    def find_contact(self, ext_user_id):
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does


class TestFindContactInMemory:
    async def test_a_contact_or_none_comes_back(self):
        contact = Contact(email=Secret("joe@example.com"), attributes={"city": "Valletta"})
        assert await instance(InMemory(contact)).as_source.find_contact("joe", 5.0) == contact
        assert await instance(InMemory(None)).as_source.find_contact("joe", 5.0) is None

    async def test_it_is_called_without_a_task(self):
        it = instance(InMemory(None))
        looking = it.as_source.find_contact("joe", 5.0)
        with pytest.raises(StopIteration):
            looking.send(None)

    @pytest.mark.parametrize(
        "does",
        [
            RuntimeError("joe@example.com"),
            SystemExit(3),
            KeyboardInterrupt(),
            asyncio.CancelledError(),
            GeneratorExit(),
            Rejected("not a source's to say"),
            Contact(email="joe@example.com"),
            17,
        ],
        ids=case_id,
    )
    async def test_a_violation_is_unavailable_and_logged(self, does, logged):
        it = instance(InMemory(does))
        with pytest.raises(Unavailable):
            await it.as_source.find_contact("joe", 5.0)
        assert it.as_source.failed_lookups == 1
        assert (logged[0]["instance"], logged[0]["hook"]) == ("relay", "find_contact")
        assert "joe" not in str(logged)

    @pytest.mark.parametrize("user", ["joe", "joe/7", "7"])
    async def test_a_failure_does_not_name_the_user(self, user):
        """It is shown by the status and sent by alerts, which people read who have no business with users."""
        failure = (
            f"GET https://crm.example/users/{quote(user, safe='')}?v=17: 503 for {user}, not for {user}s"
        )
        it = instance(InMemory(Unavailable(failure))).as_source
        with pytest.raises(Unavailable) as caught:
            await it.find_contact(user, 5.0)
        expected = f"GET https://crm.example/users/[user]?v=17: 503 for [user], not for {user}s"
        assert (caught.value.reason, it.last_failure.reason) == (expected, expected)

    async def test_unavailable_is_copied_redacted(self, logged):
        with pytest.raises(Unavailable, match=r"asked for .redacted."):
            await instance(InMemory(Unavailable("asked for joe@example.com"))).as_source.find_contact(
                "joe", 5.0
            )
        assert logged == []

    async def test_records_name_the_instance_only_while_its_hook_runs(self):
        class Talking(InMemory):
            @hookimpl
            def find_contact(self, ext_user_id):
                records.append(logs.add_running_hook(None, "", {}))

        records = []
        await instance(Talking()).as_source.find_contact("joe", 5.0)
        records.append(logs.add_running_hook(None, "", {}))
        assert records == [{"instance": "relay", "hook": "find_contact"}, {}]


class TestParseWebhook:
    @pytest.mark.parametrize("kind", [NoVerificationKey, BadSignature, BadWebhook, WebhookRetry])
    async def test_errors_are_copied_redacted(self, kind):
        with pytest.raises(kind, match=r"of .redacted.") as raised:
            await instance(Fake(kind("of joe@example.com"))).parse_webhook(REQUEST)
        assert type(raised.value) is kind

    @pytest.mark.parametrize(
        "does", [*MISBEHAVIOUR, None, Report(events=17), Report(ignored=["x"]), Rejected("x")], ids=case_id
    )
    async def test_a_violation_makes_the_provider_try_again(self, does, logged):
        with pytest.raises(WebhookRetry):
            await instance(Fake(does), timeout=timeout_for(does)).parse_webhook(REQUEST)
        assert logged[0]["hook"] == "parse_webhook"

    async def test_valid_events_are_copied_and_others_counted(self, logged):
        good = StatusEvent(status=Status.DELIVERED, message_id="a", provider_id="b", code="250")
        long = StatusEvent(status=Status.FAILED, message_id="a", provider_id="b" * 256, code="c" * 100)
        report = Report(
            events=[
                good,
                "delivered",
                StatusEvent(status="delivered", message_id="a"),
                StatusEvent(status=Status.OPENED),
                StatusEvent(status=Status.OPENED, message_id=17),
                StatusEvent(status=Status.OPENED, message_id="\x00"),
                long,
                StatusEvent(status=Status.REJECTED, provider_id="b", code="<joe@example.com> is full"),
            ],
            ignored={"click": 3, "invalid": 1, "odd": "x"},
        )
        assert await instance(Fake(report)).parse_webhook(REQUEST) == Report(
            events=[
                good,
                StatusEvent(status=Status.FAILED, message_id="a", code="c" * 64),
                StatusEvent(status=Status.REJECTED, provider_id="b", code="<[redacted]> is full"),
            ],
            ignored={"click": 3, "invalid": 6},
        )
        assert "5 of 8 returned events are invalid" in logged[0]["problem"]


class TestPing:
    async def test_a_good_answer_raises_nothing(self):
        await instance(Fake()).ping()

    @pytest.mark.parametrize("does", [*MISBEHAVIOUR[:-2], Unavailable("wrong key")], ids=case_id)
    async def test_everything_else_is_unavailable(self, does):
        with pytest.raises(Unavailable):
            await instance(Fake(does), timeout=timeout_for(does)).ping()


class TestHooks:
    def test_the_implemented_hooks_are_known(self):
        class Some(EmailSender, ContactSource):
            @hookimpl
            async def find_contact(self, ext_user_id): ...

        it = instance(Some())
        assert it.hooks == {"find_contact"}
        assert (it.channels, it.is_source, it.takes_webhooks) == (frozenset(), True, False)
        assert instance(Fake()).hooks == set(HOOKS) - {"lifespan", "find_contacts", "find_user"}

    def test_two_instances_of_a_plugin_are_independent(self):
        first, second = Fake(Receipt("1")), Fake(Receipt("2"))
        assert instance(first)._calls is not instance(second)._calls

    def test_a_misspelled_hook_is_refused(self):
        class Misspelled:
            @hookimpl
            async def send_emial(self, message): ...

        with pytest.raises(ConfigError, match=r"plugins\.relay: .*send_emial"):
            instance(Misspelled())

    def test_an_unknown_argument_is_refused(self):
        class Foreign:
            @hookimpl
            async def send_email(self, mail): ...

        with pytest.raises(ConfigError, match="mail"):
            instance(Foreign())

    def test_a_missing_parameter_is_refused(self):
        class Lacking:
            @hookimpl
            async def send_sms(self): ...

            @hookimpl
            def find_contact(self): ...

        with pytest.raises(ConfigError) as raised:
            instance(Lacking())
        assert [fault.problem for fault in raised.value.faults] == [
            "the plugin must write find_contact with the parameters (self, ext_user_id)",
            "the plugin must write send_sms with the parameters (self, message)",
        ]

    async def test_a_hook_may_take_its_parameter_by_name_only(self):
        class ByName:
            @hookimpl
            async def send_sms(self, *, message):
                return Receipt(message.text)

        assert await instance(ByName()).send(SMS) == Receipt("Hello")

    def test_every_invalid_method_is_named(self):
        class Unfit:
            async def send_email(self, message): ...

            @hookimpl
            def send_sms(self, message): ...

            @hookimpl
            async def lifespan(self):
                yield

            @hookimpl
            async def ping(self): ...

            @hookimpl(specname="ping")
            async def other(self): ...

        with pytest.raises(ConfigError) as raised:
            instance(Unfit())
        assert [fault.key for fault in raised.value.faults] == ["plugins.relay"] * 4
        text = str(raised.value)
        for part in (
            "send_email without @hookimpl",
            "send_sms as an async def",
            "@asynccontextmanager",
            "ping twice",
        ):
            assert part in text


class WithLifespan:
    """A plugin that records the steps of its lifespan."""

    def __init__(self, notes, name, opening=None, closing=None):
        self.notes, self.name, self.opening, self.closing = notes, name, opening, closing

    @hookimpl
    @contextlib.asynccontextmanager
    async def lifespan(self):
        await self.go(self.opening)
        self.notes.append(f"+{self.name}")
        with anyio.CancelScope():
            yield
        self.notes.append(f"-{self.name}")
        await self.go(self.closing)

    @staticmethod
    async def go(does):
        if isinstance(does, BaseException):
            raise does
        if does:
            await does()


class TestLifespans:
    async def test_lifespans_are_closed_in_the_reverse_order(self):
        notes = []
        async with open_instances(
            [instance(WithLifespan(notes, "a")), instance(Fake()), instance(WithLifespan(notes, "b"))]
        ):
            notes.append("open")
        assert notes == ["+a", "+b", "open", "-b", "-a"]

    async def test_every_fault_is_collected_and_open_lifespans_are_closed(self, logged):
        notes = []
        parts = [
            instance(WithLifespan(notes, "a"), "a"),
            instance(
                WithLifespan(notes, "b", ConfigError([Fault("file", "is missing"), Fault("", "odd")])), "b"
            ),
            instance(WithLifespan(notes, "c", RuntimeError("x")), "c"),
            instance(WithLifespan(notes, "d", SystemExit(1)), "d"),
            instance(WithLifespan(notes, "e", cancel_itself), "e"),
        ]
        with pytest.raises(ConfigError) as raised:
            async with open_instances(parts):
                pytest.fail("must not open")
        assert [fault.key for fault in raised.value.faults] == [
            "plugins.b.file",
            "plugins.b",
            "plugins.c",
            "plugins.d",
            "plugins.e",
        ]
        assert "RuntimeError" in raised.value.faults[2].problem
        assert notes == ["+a", "-a"]

    async def test_a_lifespan_that_does_not_open_in_time_is_a_fault(self, monkeypatch):
        monkeypatch.setattr(isolation, "OPEN_TIMEOUT", 0.01)
        with pytest.raises(ConfigError, match="did not open within"):
            async with open_instances([instance(WithLifespan([], "a", hang))]):
                pytest.fail("must not open")

    @pytest.mark.parametrize("closing", [RuntimeError("x"), SystemExit(1), hang, ignore_cancellation])
    async def test_closing_never_raises_and_errors_are_logged(self, closing, logged, monkeypatch):
        monkeypatch.setattr(isolation, "CLOSE_TIMEOUT", 0.01)
        notes = []
        async with open_instances(
            [instance(WithLifespan(notes, "a")), instance(WithLifespan(notes, "b", closing=closing))]
        ):
            pass
        assert notes[-1] == "-a"
        assert logged[0]["hook"] == "lifespan"
        await asyncio.sleep(0)

    async def test_all_lifespans_are_closed_at_the_same_time(self, logged):
        """Each waits in its close for the other to close too."""
        both = asyncio.Barrier(2)
        notes = []
        parts = [instance(WithLifespan(notes, name, closing=both.wait), name) for name in "ab"]
        async with open_instances(parts):
            pass
        assert sorted(notes) == ["+a", "+b", "-a", "-b"]
        assert logged == []

    async def test_closing_takes_no_longer_than_its_timeout(self, logged):
        async with open_instances([instance(WithLifespan([], "a", closing=hang))], lambda: 0.01):
            pass
        assert [entry["problem"] for entry in logged] == ["took longer than 0.01 s to close"]

    async def test_a_stop_gives_plugins_the_rest_of_its_time_to_close(self, logged, tmp_path, monkeypatch):
        monkeypatch.setattr("gatepost.gateway.DRAIN_TIMEOUT", 0.0)
        path = tmp_path / "gatepost.toml"
        path.write_text('[clients.brand]\nauthorization = ["a secret"]\n')
        settings, _ = app.load(path)
        one = instance(WithLifespan([], "a", closing=hang))
        async with app.open_gateway(settings, {"relay": one}):
            pass
        assert [entry["problem"] for entry in logged] == ["took longer than 0.5 s to close"]

    async def test_a_failed_background_task_cancels_nothing_else(self, logged):
        fell = asyncio.Event()

        class Falling:
            @hookimpl
            @contextlib.asynccontextmanager
            async def lifespan(self):
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self.fall())
                        yield
                finally:
                    fell.set()

            async def fall(self):
                raise RuntimeError("x")

        async with open_instances([instance(Falling())]):
            await fell.wait()
            await asyncio.sleep(0)
            still_here = True
        assert still_here
        assert [entry["hook"] for entry in logged] == ["lifespan"]

    async def test_an_instance_whose_lifespan_has_ended_does_not_send(self, logged):
        """Its connections are closed: the next plugin of the route sends, and the operator is told."""
        fall = asyncio.Event()
        ended = asyncio.Event()
        sent = []

        class Ending(Fake):
            @hookimpl
            @contextlib.asynccontextmanager
            async def lifespan(self):
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self.fall())
                        yield
                finally:
                    ended.set()

            async def fall(self):
                await fall.wait()
                raise RuntimeError("x")

            async def run(self):
                sent.append(1)
                return Receipt("x")

        one = instance(Ending())
        async with open_instances([one]):
            await one.send(EMAIL)
            fall.set()
            await ended.wait()
            await asyncio.sleep(0)
            for message in (EMAIL, SMS):
                with pytest.raises(
                    Unavailable, match="its lifespan has ended: reload or restart the gateway"
                ) as raised:
                    await one.send(message)
                assert raised.value.misconfigured
        assert sent == [1]

    async def test_a_cancelled_start_closes_what_was_opening(self):
        notes = []
        begun = asyncio.Event()

        async def wait():
            begun.set()
            await hang()

        async def run():
            async with open_instances(
                [instance(WithLifespan(notes, "a")), instance(WithLifespan(notes, "b", wait))]
            ):
                pytest.fail("must not open")

        task = asyncio.create_task(run())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert notes == ["+a", "-a"]
        assert {other.get_name() for other in asyncio.all_tasks()}.isdisjoint({"relay.lifespan"})


MODULE = """
import msgspec
from gatepost.errors import ConfigError, Fault
from gatepost.hookspecs import hookimpl
from gatepost.model import Receipt

class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 25

class Plugin:
    api_version = 2
    settings_type = Settings

    def __init__(self, settings, context):
        if settings.port == 1:
            raise ConfigError([Fault("port", "is taken"), Fault("", "is odd")])
        if settings.port == 2:
            raise RuntimeError("secret")
        self.context = context

    @hookimpl
    async def send_email(self, message):
        return Receipt(self.context.webhook_url)

class Old(Plugin):
    api_version = 0

class Bare:
    api_version = 2

class Thawed(Plugin):
    class settings_type(msgspec.Struct):
        pass

class Greedy(Plugin):
    class settings_type(msgspec.Struct, frozen=True, rename={"seconds": "timeout"}):
        seconds: float = 1

function = print
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a distribution onto the path, as pip does."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution, points):
        info = tmp_path / f"{distribution.replace('-', '_')}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[gatepost]\n{lines}")

    (tmp_path / "acme_relay.py").write_text(MODULE)
    (tmp_path / "acme_broken.py").write_text("import acme_missing")
    (tmp_path / "acme_leaving.py").write_text("raise SystemExit(1)")
    yield put
    for name in ("acme_relay", "acme_broken", "acme_leaving"):
        sys.modules.pop(name, None)


class TestLoading:
    def test_only_the_named_plugin_is_imported(self, install):
        install("acme", {"acme": "acme_relay:Plugin", "acme-broken": "acme_broken:Plugin"})
        assert installed()["acme"].value == "acme_relay:Plugin"
        assert issubclass(settings_type("acme"), msgspec.Struct)

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (
                "acme_broken:Plugin",
                "distribution acme can't be imported (ModuleNotFoundError acme_missing at ",
            ),
            ("acme_leaving:Plugin", "distribution acme can't be imported (SystemExit at "),
            ("acme_relay:Absent", "distribution acme can't be imported (AttributeError)"),
            ("acme_relay:Old", "api_version is number 0, this Gatepost's is 2"),
            ("acme_relay:Bare", "settings_type is not a msgspec.Struct"),
            ("acme_relay:Thawed", "settings_type is not frozen"),
            ("acme_relay:Greedy", "keys that belong to the core: timeout"),
            ("acme_relay:function", "does not name a class"),
        ],
    )
    def test_an_unusable_plugin_is_a_fault(self, install, value, problem):
        install("acme", {"acme": value})
        with pytest.raises(ConfigError) as raised:
            settings_type("acme")
        (fault,) = raised.value.faults
        assert fault.key == ""
        assert problem in fault.problem

    def test_two_distributions_with_the_same_plugin_are_a_fault(self, install):
        install("acme-one", {"acme": "acme_relay:Plugin"})
        install("acme-two", {"acme": "acme_relay:Plugin"})
        with pytest.raises(ConfigError, match="offered by acme-one and by acme-two"):
            settings_type("acme")

    @pytest.mark.parametrize(
        ("use", "expected", "unexpected"),
        [
            ("acme-rely", "is it acme-relay?", "pip install"),
            ("qqqq", "as in pip install ./plugins/qqqq; for others see their documentation", "is it"),
            ("A secret text!", "acme-relay", "secret"),
        ],
    )
    def test_a_plugin_that_is_not_installed_is_a_fault_with_advice(self, install, use, expected, unexpected):
        install("acme", {"acme-relay": "acme_relay:Plugin"})
        with pytest.raises(ConfigError, match="acme-relay") as raised:
            settings_type(use)
        assert expected in str(raised.value)
        assert unexpected not in str(raised.value)


def configured(tmp_path, text):
    path = tmp_path / "gatepost.toml"
    path.write_text(text)
    settings, _faults = read_settings(path, settings_type)
    return settings


class TestBuild:
    async def test_instances_know_their_webhook_url(self, install, tmp_path):
        install("acme", {"acme": "acme_relay:Plugin"})
        settings = configured(
            tmp_path,
            '[server]\npublic_url = "https://gate.example.com/"\n'
            '[plugins.one]\nuse = "acme"\n[plugins.two]\nuse = "acme"\n[routes]\nemail = ["one", "two"]\n',
        )
        built, faults = build_instances(settings)
        assert faults == []
        assert list(built) == ["one", "two"]
        assert await built["one"].send(EMAIL) == Receipt("https://gate.example.com/webhooks/one")

    def test_every_fault_has_the_key_of_its_place(self, install, tmp_path):
        install("acme", {"acme": "acme_relay:Plugin"})
        settings = configured(
            tmp_path,
            '[plugins.one]\nuse = "acme"\nport = 1\n[plugins.two]\nuse = "acme"\nport = 2\n'
            '[plugins.three]\nuse = "acme"\n'
            '[routes]\nemail = ["one", "three", "nobody"]\nsms = ["three"]\n'
            '[contacts]\nsources = ["three", "nobody"]\n',
        )
        built, faults = build_instances(settings)
        assert list(built) == ["three"]
        assert [fault.key for fault in faults] == [
            "plugins.one.port",
            "plugins.one",
            "plugins.two",
            "routes.sms",
            "contacts.sources",
        ]
        assert "RuntimeError" in faults[2].problem
        assert "secret" not in faults[2].problem
