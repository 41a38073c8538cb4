# ruff: noqa: T201, RUF006, SLOT000, ASYNC110, PLE1206, TRY301  it does what a plugin must not do
"""A plugin for tests that violates the contract in the way that its settings or a message's text name.

``install`` writes it into a folder that Python takes for an installed distribution when it is on PYTHONPATH.
"""

import asyncio
import base64
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import msgspec

from gatepost.errors import BadSignature, BadWebhook, Rejected, Unavailable, Uncertain, WebhookRetry
from gatepost.hookspecs import (
    BatchSource,
    ContactSource,
    Context,
    EmailSender,
    HasLifespan,
    HasPing,
    SmsSender,
    UserFinder,
    WebhookParser,
    hookimpl,
)
from gatepost.model import (
    Channel,
    Contact,
    Email,
    Receipt,
    Report,
    Secret,
    Sms,
    Status,
    StatusEvent,
    WebhookAnswer,
    WebhookRequest,
)


def install(folder: Path) -> dict[str, str]:
    """Install the plugin in a folder; returns the environment in which ``use = "misbehaving"`` is a plugin."""
    folder.mkdir(exist_ok=True)
    shutil.copy(__file__, folder / "misbehaving.py")
    metadata = folder / "misbehaving-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gatepost]\nmisbehaving = misbehaving:Misbehaving\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    does: str = ""
    """The trick to do with every message; by default the first word of the message's text names it."""
    users: Mapping[str, Mapping[str, str]] = {}
    """The users of find_contact: email, phone, trick, blocked; everything else is an attribute."""
    warns: Mapping[str, str] = {}
    """What its constructor warns of, by key; and of much that is no warning."""
    lifespan: str = ""
    """The trick of its lifespan: ``fails`` or ``never closes``."""
    key: Secret = Secret("")
    sabotage: bool = False
    """Make the gateway's own code fail for messages with certain texts."""
    leaks: Mapping[str, str] = {}
    """Make the gateway's own code leak these texts, by the place where they appear."""
    operation_leaks: Mapping[str, str] = {}
    """The same for what routes, limits, operations, pages, traces and alerts show."""
    quick_alerts: bool = False
    """Tell of each problem at once."""


class Odd(Exception):
    """An error whose text and repr show its arguments."""

    def __str__(self):
        return f"odd: {self.args}"


class Unspeakable(Exception):
    """An error whose text and repr raise another error."""

    def __str__(self):
        raise RuntimeError(self.args)

    __repr__ = __str__


class Unequal(str):
    """A text that raises an error when it is compared or shown."""

    def __eq__(self, other):
        raise RuntimeError(str.__str__(self))

    def __repr__(self):
        raise RuntimeError(str.__str__(self))

    __hash__ = None
    __ne__ = __eq__
    isprintable = __len__ = __repr__


class Thing:
    """An object every use of which raises an error."""

    def __getattribute__(self, name):
        raise RuntimeError("hands off")

    def __repr__(self):
        raise RuntimeError("hands off")

    __eq__ = __repr__
    __hash__ = None


class RejectedOddly(Rejected):
    def __init__(self, text):
        Exception.__init__(self, text)
        self.text = text

    @property
    def reason(self):
        raise RuntimeError(self.text)

    def __str__(self):
        raise RuntimeError(self.text)


class Misbehaving(
    HasLifespan, HasPing, ContactSource, BatchSource, UserFinder, EmailSender, SmsSender, WebhookParser
):
    api_version: ClassVar[int] = 2
    settings_type: ClassVar[type[msgspec.Struct]] = Settings

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.context = context
        self.references: list[object] = []
        for key, problem in settings.warns.items():
            context.warn(key, problem)
            context.warn(Thing(), settings.key)
            for number in range(1_000):
                context.warn("key", f"{settings.key.reveal()} is bad for {number} reasons")
        if settings.sabotage:
            sabotage()
        if settings.leaks:
            self.references.append(plant_leaks(settings.leaks))
        if settings.quick_alerts:
            hurry_alerts()
        if settings.operation_leaks:
            plant_operation_leaks(settings.operation_leaks)

    @hookimpl
    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        if self.settings.lifespan == "fails":
            async with asyncio.TaskGroup() as group:
                group.create_task(self._die())
                yield
        elif self.settings.lifespan == "never closes":
            try:
                yield
            finally:
                while True:
                    with contextlib.suppress(BaseException):
                        await asyncio.sleep(0.2)
        else:
            yield

    async def _die(self):
        await asyncio.sleep(0.1)
        raise Odd("died in the middle")

    @hookimpl
    async def ping(self) -> None:
        raise Unavailable(f"the key {self.settings.key.reveal()} is not good", misconfigured=True)

    @hookimpl
    async def find_contact(self, ext_user_id: str) -> Contact | None:
        user = self.settings.users.get(ext_user_id)
        if user is None:
            return None
        contact = Contact(
            email=Secret(user["email"]),
            phone=Secret(user["phone"]),
            attributes={
                name: text
                for name, text in user.items()
                if name not in {"email", "phone", "trick", "blocked"}
            },
            blocked=user.get("blocked", ""),
        )
        if "trick" in user:
            await self.play(user["trick"], user["email"], user["phone"], dict(contact.attributes))
        return contact

    @hookimpl
    async def find_contacts(self, ext_user_ids: Sequence[str]) -> Mapping[str, Contact]:
        if any(self.settings.users.get(one, {}).get("trick") == "junk" for one in ext_user_ids):
            return dict.fromkeys(ext_user_ids, "junk")
        found = {one: await self.find_contact(one) for one in ext_user_ids}
        return {one: contact for one, contact in found.items() if contact is not None}

    @hookimpl
    async def find_user(self, channel: Channel, recipient: Secret) -> Sequence[str]:
        text = recipient.reveal()
        await self.do_log(text, text)
        await self.do_print(text, text)
        found = [name for name, user in self.settings.users.items() if text in user.values()]
        if not found:
            raise Unavailable(f"no answer about {text}", code=text)
        return found

    @hookimpl
    async def send_email(self, message: Email) -> Receipt:
        return await self._send(message, message.text)

    @hookimpl
    async def send_sms(self, message: Sms) -> Receipt:
        return await self._send(message, message.text)

    async def _send(self, message: Email | Sms, text: str) -> Receipt:
        trick = self.settings.does or text.split(maxsplit=1)[0]
        recipient = message.recipient.reveal()
        if trick == "mutate":
            message.attributes["spoilt"] = "yes"
            msgspec.structs.force_setattr(message, "recipient", Secret("someone.else@wrong.example"))
            msgspec.structs.force_setattr(message, "attributes", {})
            raise Unavailable("after it spoilt the message", message_only=True)
        result = await self.play(trick, recipient, recipient, dict(message.attributes))
        return Receipt(f"misbehaving-{message.id}") if result is None else result

    @hookimpl
    async def parse_webhook(self, request: WebhookRequest) -> Report:
        body = request.json()
        who = body["who"]
        match body["trick"]:
            case "retry":
                raise WebhookRetry(f"not now, {who}")
            case "bad":
                raise BadWebhook(f"bad: {who}")
            case "signature":
                raise BadSignature(f"forged by {who}")
            case "report":
                event = StatusEvent(
                    status=Status.DELIVERED, message_id=body["id"], provider_id=who, code=f"250 {who} took it"
                )
                return Report(events=[event], ignored={who: 1, f"kind {who}": 1, "click": 1})
            case "stop":
                event = StatusEvent(status=Status.UNSUBSCRIBED, recipient=Secret(who), code=f"STOP {who}")
                answer = WebhookAnswer(body=b"OK", content_type=f"text/plain; to={who}\r\nX-To: {who}")
                return Report(events=[event, event], ignored={who: 1}, answer=answer)
            case "endless":
                return Report(events=iter(lambda: None, 1), ignored={})
            case trick:
                return await self.play(trick, who, who, {"name": who})

    async def play(self, trick: str, address: str, number: str, attributes: Mapping[str, str]) -> object:
        """Do a trick with a text that holds all these private values, and with the address."""
        private = f"{address} {number} {' '.join(attributes.values())}"
        return await getattr(self, f"do_{trick.replace('-', '_')}")(private, address)

    # The tricks.

    async def do_fine(self, private, address):
        return None

    async def do_raise(self, private, address):
        error = ValueError(private, {"to": address})
        error.add_note(private)
        raise error from Odd(private.encode().hex())

    async def do_raise_group(self, private, address):
        raise BaseExceptionGroup(private, [Odd(private), SystemExit(private)])

    async def do_unspeakable(self, private, address):
        raise Unspeakable(private)

    async def do_reject(self, private, address):
        raise Rejected(f"no such mailbox: {private}", code=f"550 <{address}>")

    async def do_reject_encoded(self, private, address):
        raise Rejected(base64.b64encode(private.encode()).decode(), code=address[::-1])

    async def do_reject_oddly(self, private, address):
        raise RejectedOddly(private)

    async def do_unavailable(self, private, address):
        raise Unavailable(f"try {private} later", code=address, retry_after=float("nan"))

    async def do_hopeless(self, private, address):
        raise Unavailable("play dead", misconfigured=True, retry_after=10**400)

    async def do_uncertain(self, private, address):
        raise Uncertain(f"lost {private}", code=private)

    async def do_exit(self, private, address):
        raise SystemExit(private)

    async def do_interrupt(self, private, address):
        raise KeyboardInterrupt(private)

    async def do_generator_exit(self, private, address):
        raise GeneratorExit(private)

    async def do_cancel_itself(self, private, address):
        raise asyncio.CancelledError(private)

    async def do_cancel_everybody(self, private, address):
        for task in asyncio.all_tasks():
            if task.get_name().startswith("misbehaving-") or task is asyncio.current_task():
                task.cancel(private)
        await asyncio.sleep(0)

    async def do_recurse(self, private, address):
        return await self.do_recurse(private, address)

    async def do_junk(self, private, address):
        # Other lookups come meanwhile, and wait for a batch.
        await asyncio.sleep(0.2)
        raise ValueError(private)

    async def do_hang(self, private, address):
        await asyncio.Event().wait()

    async def do_spin(self, private, address):
        while True:
            await asyncio.sleep(0)

    async def do_ignore_cancellation(self, private, address):
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(0.05)

    async def do_block(self, private, address):
        time.sleep(2.5)  # noqa: ASYNC251  the trick

    async def do_nonsense(self, private, address):
        return {"to": private}

    async def do_thing(self, private, address):
        return Thing()

    async def do_unequal_id(self, private, address):
        return Receipt(Unequal("an-id"))

    async def do_huge_id(self, private, address):
        return Receipt("x" * 1_000_000)

    async def do_recipient_id(self, private, address):
        return Receipt(f"id-{base64.urlsafe_b64encode(address.encode()).decode()}")

    async def do_odd_cost(self, private, address):
        return Receipt(private[:5], parts=10**100, price=Decimal("NaN"), currency=private)

    async def do_opt_out(self, private, address):
        raise Rejected("has opted out", code="21610", status=Status.UNSUBSCRIBED)

    async def do_reject_as_delivered(self, private, address):
        raise Rejected("refused", status=Status.DELIVERED)

    async def do_reject_with_a_thing(self, private, address):
        raise Rejected("refused", status=Thing())

    async def do_keep_an_address(self, private, address):
        await self.context.state.replace("last", "", address)

    async def do_keep_a_book(self, private, address):
        await self.context.state.replace("book", "", "x" * 5_000)

    async def do_hold_a_lease_for_ever(self, private, address):
        await self.context.lease("for ever", float("inf"))

    async def do_hold_a_lease(self, private, address):
        assert await self.context.lease("poll", 30)
        number = await self.context.state.read("number")
        assert await self.context.state.replace("number", number, f"{number}1")

    async def do_huge_reason(self, private, address):
        raise Rejected(f"{private} " + "y" * 5_000_000 + f" {private}", code="z" * 5_000_000)

    async def do_log(self, private, address):
        log = self.context.log
        log.info("sending", to=address, **{address: private})
        log.warning(private, parts=[address.partition("@"), {address: 1}], raw=private.encode())
        log.error("encoded", a=base64.b64encode(private.encode()), b=address[::-1], c=private.upper())
        log.error("split", a=" ".join(address), b=private.encode().hex(), c="\n".join(address), thing=Thing())
        logging.getLogger("vendor.sdk").error(
            "POST /send to=%s", private, extra={"to": address, "level": address}
        )
        logging.getLogger("vendor.sdk").warning("too %s few %s", private)
        log.error("huge", a="y" * 1_000_000 + private)
        try:
            raise Odd(private)
        except Odd:
            log.exception("caught %s", address)
            logging.getLogger("vendor.sdk").exception("caught")

    async def do_print(self, private, address):
        print(private)
        print(address, file=sys.stderr)
        print(address[:5], end="")
        print(address[5:], flush=True)
        sys.stderr.writelines([private, "\n"])
        warnings.warn(f"deprecated: {private}", stacklevel=1)

    async def do_leave_a_task(self, private, address):
        async def fall():
            raise Odd(private)

        asyncio.create_task(fall())
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)

        class Falls:
            def __del__(self):
                raise Odd(private)

        Falls()
        threading.Thread(target=lambda: (_ for _ in ()).throw(Odd(private))).start()
        raise Unavailable("a task was left behind", message_only=True)

    async def do_leak(self, private, address):
        for _ in range(20):
            self.references += [
                socket.socket(),
                asyncio.create_task(self.do_ignore_cancellation(private, address)),
            ]
        threading.Thread(target=time.sleep, args=(600,), name=private).start()
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)

    async def do_exit_in_a_task(self, private, address):
        async def leave():
            sys.exit(private)

        asyncio.create_task(leave())
        await asyncio.sleep(0.05)

    async def do_stop_the_loop(self, private, address):
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)

    async def do_close_everything(self, private, address):
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            stream.close()
        logging.getLogger().handlers.clear()
        logging.getLogger("gatepost").setLevel(logging.CRITICAL)
        logging.disable(logging.CRITICAL)
        logging.shutdown()
        for number in (0,):
            os.close(number)

    async def do_new_logging(self, private, address):
        logging.basicConfig(force=True, level=logging.DEBUG)
        logging.getLogger("vendor.sdk").error("set up anew for %s", private)


def sabotage() -> None:
    """Make the gateway's own code raise errors that hold private values, for messages with certain texts."""
    from gatepost.delivery import composition  # noqa: PLC0415
    from gatepost.intake import requests  # noqa: PLC0415
    from gatepost.outbox import sqlite  # noqa: PLC0415

    decode, stored, compose = requests.decode, composition.decode_content, composition.Composer.compose

    def decode_or_fail(channel, body):
        if b"internal-error" in body:
            raise Odd(body)
        return decode(channel, body)

    def stored_or_fail(channel, data):
        if b"unreadable" in data:
            raise ValueError(data)
        return stored(channel, data)

    async def compose_or_fail(composer, claim, recipient, attributes, **options):
        composed = await compose(composer, claim, recipient, attributes, **options)
        if composed.message.text.startswith("delivery-error"):
            raise Odd(recipient.reveal(), attributes)
        return composed

    requests.decode = decode_or_fail
    composition.decode_content = stored_or_fail
    composition.Composer.compose = compose_or_fail
    sqlite._PRAGMAS = tuple(
        "busy_timeout=100" if text.startswith("busy_timeout") else text for text in sqlite._PRAGMAS
    )


def plant_leaks(texts: Mapping[str, str]) -> object:
    """Make the gateway leak each text in its place, after everything that would redact it."""
    from gatepost.delivery import attempt  # noqa: PLC0415
    from gatepost.errors import Refused  # noqa: PLC0415
    from gatepost.intake import answers  # noqa: PLC0415
    from gatepost.observe import logs  # noqa: PLC0415
    from gatepost.observe.metrics import Metrics  # noqa: PLC0415
    from gatepost.upkeep.health import HealthCheck  # noqa: PLC0415

    refused, redact, send_result = answers.refused, logs.redact_record, attempt.send_result
    ready, expose = HealthCheck.readiness, Metrics.expose

    def leak(logger, method, event):
        event = redact(logger, method, event) | {"planted": texts["log"]}
        if "exception" in event:
            event["exception"] += texts["traceback"]
        return event

    # The logging is configured already, with the list of its processors.
    formatter = logging.getLogger().handlers[0].formatter
    formatter.processors = [leak if one is redact else one for one in formatter.processors]
    answers.refused = lambda error: refused(Refused(error.code, error.message + texts["answer"]))
    attempt.send_result = lambda *arguments: msgspec.structs.replace(
        send_result(*arguments), reason=texts["database"]
    )
    HealthCheck.readiness = lambda self: msgspec.structs.replace(ready(self), problems=[texts["health"]])
    Metrics.expose = lambda self: expose(self) + f"# {texts['metric']}\n".encode()
    # It ends with the gateway, which closes the other end of its input.
    wait = "import sys; sys.stdin.read()"
    return subprocess.Popen([sys.executable, "-c", wait, texts["process"]], stdin=subprocess.PIPE)


def hurry_alerts() -> None:
    """Let the alerts neither wait for a problem to last nor for another one."""
    from gatepost.alerts import changes, loop  # noqa: PLC0415

    loop.LOOK_INTERVAL, loop.DIGEST_WAIT, loop.MIN_INTERVAL, changes.SETTLE = 0.1, 0.0, 0.0, 0.0


def plant_operation_leaks(texts: Mapping[str, str]) -> None:
    """Make the gateway leak each text in its place, after everything that would redact it."""
    from gatepost.alerts import digest  # noqa: PLC0415
    from gatepost.console import rendering  # noqa: PLC0415
    from gatepost.delivery import attempt  # noqa: PLC0415
    from gatepost.observe import spans  # noqa: PLC0415
    from gatepost.outbox import audit, counters, suppressions  # noqa: PLC0415
    from gatepost.plugin_host import sanitize  # noqa: PLC0415
    from gatepost.web.admin.api import AdminApi  # noqa: PLC0415

    try_record, encode, add = attempt.try_record, audit._encode, counters.add
    insert, copy_contact, run = suppressions._insert, sanitize.copy_contact, AdminApi.run
    plain, moment, attributes = digest._plain, rendering.moment, spans._attributes

    def copy_and_leak(contact):
        copy = copy_contact(contact)
        return msgspec.structs.replace(copy, blocked=texts["blocked"]) if copy.blocked else copy

    async def run_and_leak(self, name, body, actor):
        answer = await run(self, name, body, actor)
        return msgspec.json.encode([texts["admin"]]) if name == "resting-instances" else answer

    def add_and_leak(tx, key, amount):
        period, scope = key
        add(tx, (period, scope + texts["counter"] if "per_user" in scope else scope), amount)

    attempt.try_record = lambda *arguments: msgspec.structs.replace(
        try_record(*arguments), choice=texts["attempt"]
    )
    audit._encode = lambda target: encode({**target, "planted": texts["audit"]})
    counters.add = add_and_leak
    suppressions._insert = lambda tx, new: insert(
        tx, [one._replace(reason=texts["suppression"]) for one in new]
    )
    sanitize.copy_contact = copy_and_leak
    AdminApi.run = run_and_leak
    digest._plain = lambda text: plain(text) + texts["alert"]
    rendering.moment = lambda seconds: moment(seconds) + texts["page"]
    spans._attributes = lambda *fields: {**attributes(*fields), "planted": texts["trace"]}
