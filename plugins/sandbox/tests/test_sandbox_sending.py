"""The sends: the scenarios, the folder, the settings."""

import asyncio
import json
import resource
import signal
from contextlib import contextmanager
from email import message_from_bytes, policy
from importlib.metadata import entry_points

import msgspec
import pluggy
import pytest

from gatepost import hookspecs
from gatepost.errors import ConfigError, Rejected, Unavailable, Uncertain
from gatepost.model import Receipt, Secret
from gatepost_sandbox import Sandbox, Settings

# The README's table: the beginning of an address, the ending of a number, and the reported statuses.
ACCEPTED = [
    ("anna", "23", ["delivered"]),
    ("bounce", "91", ["failed"]),
    ("complain", "93", ["delivered", "complained"]),
    ("unsubscribe", "94", ["delivered", "unsubscribed"]),
    ("open", "95", ["delivered", "opened"]),
    ("slow", "96", ["delivered"]),
]
NOT_ACCEPTED = [("reject", "92", Rejected, "reject"), ("down", "97", Unavailable, "down")]


@pytest.fixture
def file_size_limit():
    """Limit the size of new files while the block runs, to simulate a full disk."""
    previous, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)

    @contextmanager
    def limit(size):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, previous[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, previous)
            signal.signal(signal.SIGXFSZ, handler)

    return limit


class TestScenarios:
    @pytest.mark.parametrize(("word", "ending", "statuses"), ACCEPTED)
    @pytest.mark.parametrize("form", ["{}@people.example", "{}.smith+1@people.example"])
    async def test_an_accepted_email_is_reported(self, running, gateway, email, word, ending, statuses, form):
        async with running() as sandbox:
            message = email(form.format(word))
            assert await sandbox.send_email(message) == Receipt(f"{message.id}.eml")
            assert await gateway.statuses(message.id, len(statuses)) == statuses

    @pytest.mark.parametrize(("word", "ending", "statuses"), ACCEPTED)
    async def test_an_accepted_text_message_is_reported(self, running, gateway, sms, word, ending, statuses):
        async with running() as sandbox:
            message = sms(f"+4477009001{ending}")
            assert await sandbox.send_sms(message) == Receipt(f"{message.id}.json")
            assert await gateway.statuses(message.id, len(statuses)) == statuses

    @pytest.mark.parametrize(("word", "ending", "error", "code"), NOT_ACCEPTED)
    async def test_a_message_that_is_not_accepted_is_neither_stored_nor_reported(
        self, running, gateway, email, sms, tmp_path, word, ending, error, code
    ):
        async with running() as sandbox:
            with pytest.raises(error) as by_email:
                await sandbox.send_email(email(f"{word}@people.example"))
            with pytest.raises(error) as by_sms:
                await sandbox.send_sms(sms(f"+4477009001{ending}"))
            # Reports are sent in order: this one would come after theirs.
            await sandbox.send_email(email(id="ok"))
            await gateway.statuses("ok", 1)
        assert by_email.value.code == by_sms.value.code == code
        assert [file.name for file in (tmp_path / "mail").iterdir()] == ["ok.eml"]
        assert len(gateway.events) == 1

    async def test_an_uncertain_message_is_stored_and_reported(self, running, gateway, email, sms, tmp_path):
        async with running() as sandbox:
            with pytest.raises(Uncertain):
                await sandbox.send_email(email("lost@people.example", id="m"))
            with pytest.raises(Uncertain):
                await sandbox.send_sms(sms("+447700900198", id="s"))
            assert await gateway.statuses("m", 1) == await gateway.statuses("s", 1) == ["delivered"]
        assert {file.name for file in (tmp_path / "mail").iterdir()} == {"m.eml", "s.json"}

    async def test_the_case_of_an_address_does_not_matter(self, build, email):
        async with (sandbox := build()).lifespan():
            with pytest.raises(Rejected):
                await sandbox.send_email(email("Reject@People.Example"))

    async def test_a_failed_delivery_has_a_code(self, running, gateway, email):
        async with running() as sandbox:
            await sandbox.send_email(email("bounce@people.example"))
            await gateway.until(lambda: gateway.events)
        assert gateway.events[0].code == "bounced"

    async def test_a_slow_message_does_not_delay_others(self, build, email):
        async with (sandbox := build(slow=5.0)).lifespan():
            slow = asyncio.create_task(sandbox.send_email(email("slow@people.example", id="slow")))
            await sandbox.send_email(email(id="quick"))
            assert not slow.done()
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow


class TestFolder:
    async def test_an_email_is_stored_as_it_was_sent(self, build, email, tmp_path):
        message = email(subject="Grüße", text="Straße\n", html="<p>Straße</p>\n", reply_to=email().sender)
        async with (sandbox := build()).lifespan():
            receipt = await sandbox.send_email(message)
        mail = message_from_bytes((tmp_path / "mail" / receipt.provider_id).read_bytes(), policy=policy.SMTP)
        assert mail["To"] == "anna@people.example"
        assert mail["From"] == mail["Reply-To"] == "Amazing <noreply@amazing.example>"
        assert mail["Subject"] == "Grüße"
        assert message.id in mail["Message-ID"]
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
        assert [part.get_content() for part in mail.iter_parts()] == ["Straße\r\n", "<p>Straße</p>\r\n"]

    async def test_a_text_message_is_stored_as_it_was_sent(self, build, sms, tmp_path):
        async with (sandbox := build()).lifespan():
            receipt = await sandbox.send_sms(sms(text="Straße 🙂"))
        assert json.loads((tmp_path / "mail" / receipt.provider_id).read_bytes()) == {
            "id": sms().id,
            "from": "Amazing",
            "to": "+447700900123",
            "text": "Straße 🙂",
        }

    async def test_only_the_owner_can_read_the_messages(self, build, email, tmp_path):
        async with (sandbox := build()).lifespan():
            receipt = await sandbox.send_email(email())
        assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "mail" / receipt.provider_id).stat().st_mode & 0o777 == 0o600

    async def test_an_existing_folder_keeps_its_mode(self, build, email, tmp_path):
        (tmp_path / "mail").mkdir()
        (tmp_path / "mail").chmod(0o755)
        async with (sandbox := build()).lifespan():
            await sandbox.send_email(email())
        assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o755

    async def test_a_message_that_is_sent_twice_has_two_files(self, build, email, tmp_path):
        async with (sandbox := build()).lifespan():
            receipts = await asyncio.gather(*(sandbox.send_email(email(id="m")) for _ in range(3)))
        names = {"m.eml", "m.2.eml", "m.3.eml"}
        assert {receipt.provider_id for receipt in receipts} == names
        assert {file.name for file in (tmp_path / "mail").iterdir()} == names

    async def test_a_failed_write_leaves_no_file(self, build, email, tmp_path, file_size_limit):
        async with (sandbox := build()).lifespan():
            await sandbox.send_email(email(id="small"))
            with file_size_limit(10_000), pytest.raises(Unavailable) as caught:
                await sandbox.send_email(email(text="x" * 100_000))
        assert (caught.value.code, caught.value.misconfigured) == ("EFBIG", True)
        assert [file.name for file in (tmp_path / "mail").iterdir()] == ["small.eml"]

    async def test_without_its_folder_the_sandbox_is_unavailable(self, build, email, tmp_path):
        async with (sandbox := build()).lifespan():
            await sandbox.ping()
            (tmp_path / "mail").rmdir()
            with pytest.raises(Unavailable) as sending:
                await sandbox.send_email(email())
            with pytest.raises(Unavailable) as pinging:
                await sandbox.ping()
        assert sending.value.misconfigured
        assert pinging.value.misconfigured
        assert sending.value.code == "ENOENT"

    async def test_a_folder_that_can_not_be_created_refuses_the_start(self, build, tmp_path):
        (tmp_path / "mail").write_text("a file")
        with pytest.raises(ConfigError) as caught:
            async with build().lifespan():
                pass
        assert [fault.key for fault in caught.value.faults] == ["folder"]


class TestSettings:
    def test_unknown_keys_are_refused(self):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(
                {"folder": "x", "folders": "y"}, Settings, dec_hook=lambda kind, value: kind(value)
            )

    def test_the_settings_show_no_secret(self, tmp_path):
        assert "shared" not in repr(Settings(folder=tmp_path, webhook_secret=Secret("shared")))

    def test_every_fault_is_named_at_once(self, build):
        with pytest.raises(ConfigError) as caught:
            build(slow=2.0, timeout=2.0, webhook_secret=Secret(""))
        assert [fault.key for fault in caught.value.faults] == ["slow", "webhook_secret"]

    async def test_the_default_sender_is_used_without_another(self, build, sms, tmp_path):
        async with (sandbox := build(default_sender="Shop")).lifespan():
            await sandbox.send_sms(sms(sender=None, id="m"))
        assert json.loads((tmp_path / "mail" / "m.json").read_bytes())["from"] == "Shop"

    async def test_without_any_sender_a_text_message_is_rejected(self, build, sms):
        async with (sandbox := build(default_sender="")).lifespan():
            with pytest.raises(Rejected):
                await sandbox.send_sms(sms(sender=None))


class TestPlugin:
    def test_the_entry_point_names_the_plugin(self):
        [found] = entry_points(group="gatepost", name="sandbox")
        assert found.load() is Sandbox

    def test_pluggy_finds_every_hook(self, build):
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs.Hooks)
        manager.register(build())
        manager.check_pending()
        hooks = {"lifespan", "ping", "send_email", "send_sms", "parse_webhook"}
        assert {name for name in hooks if getattr(manager.hook, name).get_hookimpls()} == hooks

    async def test_nothing_of_the_recipient_is_logged_raised_or_reported(
        self, running, gateway, email, sms, log
    ):
        gateway.next_statuses.extend([500, 0])
        texts = []
        async with running() as sandbox:
            for word in ("anna", "bounce", "reject", "down", "lost"):
                try:
                    texts.append(
                        repr(await sandbox.send_email(email(f"{word}.canary@people.example", id=word)))
                    )
                except (Rejected, Unavailable, Uncertain) as error:
                    texts.append(repr((error, error.reason, error.code)))
            for ending in ("00", "92", "97", "98"):
                try:
                    texts.append(repr(await sandbox.send_sms(sms(f"+44770090{ending}{ending}", id=ending))))
                except (Rejected, Unavailable, Uncertain) as error:
                    texts.append(repr((error, error.reason, error.code)))
            await gateway.until(lambda: len(gateway.events) == 5)
        assert log.entries
        everything = "".join([*texts, repr(log.entries), *map(repr, gateway.bodies)])
        assert "canary" not in everything
        assert "people" not in everything
        assert "770090" not in everything
