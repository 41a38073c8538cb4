"""`gatepost init` on a terminal: each answer is checked at once, secrets are not shown, Ctrl-C leaves nothing."""

import os
import pty
import select
import signal
import sys
import time
import tomllib

import pytest
from click.testing import CliRunner

from gatepost.cli import init

DEADLINE = 120.0
"""Seconds after which a conversation has failed; it takes about two."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEPOST_CONFIG", raising=False)
    users = tmp_path / "users.csv"
    users.write_text("ext_user_id,email,phone\n42,anna@mail.example,+447700900123\n")
    users.chmod(0o600)
    return tmp_path


@pytest.fixture
def answer(folder, monkeypatch):
    """Return a function that runs the command and gives these answers, each on its line."""
    monkeypatch.setattr(init, "_has_terminal", lambda: True)

    def run(answers: list[str], *options: str):
        return CliRunner().invoke(init.command, options, input="\n".join([*answers, ""]))

    return run


START = ["", "192.0.2.7", "", "hunter2", "csv", "users.csv", ""]
"""The answers about the client and the contacts."""
END = ["sqlite", "https://gateway.example", "y", "", ""]
"""The answers about the store, the public URL, the proxy and the listening address."""


def config(folder):
    return tomllib.loads((folder / "gatepost.toml").read_text())


def test_another_key_may_be_given_in_place_of_one_that_is_missing(folder, answer, monkeypatch):
    monkeypatch.setenv("TWILIO_SECRET", "hunter3")
    account = f"AC{'0' * 32}"
    login = f'{{ username = "SK{"0" * 32}", password = "env:TWILIO_SECRET" }}'
    twilio = ["", "twilio", account, "", "", "api_key", login, ""]
    result = answer([*START, *twilio, *END])

    assert result.exit_code == 0, result.output
    assert "without it and without api_key nothing can be sent" in result.output
    assert config(folder)["plugins"]["twilio"] == {
        "use": "twilio",
        "account_sid": account,
        "api_key": {"username": f"SK{'0' * 32}", "password": "env:TWILIO_SECRET"},
    }


def test_enter_takes_the_defaults(folder, answer):
    result = answer([*START, "smtp", "relay.example", "", "", *END])

    assert result.exit_code == 0, result.output
    assert config(folder) == {
        "server": {"trusted_proxies": ["127.0.0.1", "::1"], "public_url": "https://gateway.example"},
        "clients": {
            "smartico": {
                "authorization": ["file:secrets/smartico-authorization"],
                "callback_api_key": "file:secrets/smartico-callback-api-key",
                "allow_ips": ["192.0.2.7"],
                "callback_hosts": ["*.smartico.ai"],
            }
        },
        "contacts": {"sources": ["csv"]},
        "routes": {"email": ["smtp"]},
        "plugins": {
            "csv": {"use": "csv", "path": "users.csv"},
            "smtp": {"use": "smtp", "host": "relay.example"},
        },
    }
    assert (folder / "secrets" / "smartico-callback-api-key").read_text() == "hunter2\n"
    assert "hunter2" not in result.output


def test_the_new_secret_is_shown_once(folder, answer):
    result = answer([*START, "smtp", "relay.example", "", "", *END])

    secret = (folder / "secrets" / "smartico-authorization").read_text().strip()
    assert result.output.count(secret) == 1
    assert "shown only now" in result.output


def test_a_bad_answer_is_refused_at_once_and_asked_again(folder, answer):
    start = ["no name", "brand", "192.0.2.7/8", "192.0.2.0/24", "http://x", "*.crm.example", ""]
    contacts = ["cvs", "csv", "users.csv", "delimeter", "delimiter", "::", ";", ""]

    result = answer(
        [*start, *contacts, "", "", "sqlite", "gateway", "https://gateway.example", "n", "x", "[::1]:8081"]
    )

    for problem in (
        "a client's name may have only",
        "has host bits set; write 192.0.0.0/8",
        "entry 1 is not a name, *.name or an address",
        "no installed plugin cvs is a contact source; is it csv?",
        "There is no such key; is it delimiter?",
        "plugins.csv.delimiter: must be one of",
        "server.public_url: must be a URL",
        "set certificate and key in [server]",
        "must be an address and a port",
    ):
        assert problem in result.output, result.output
    written = config(folder)
    assert written["clients"]["brand"]["allow_ips"] == ["192.0.2.0/24"]
    assert written["plugins"]["csv"]["delimiter"] == ";"
    assert written["server"]["host"] == "::1"


def test_what_a_plugin_refuses_is_asked_again(folder, answer):
    result = answer([*START, "smtp", "relay.example", "username", "me", "", "env:NO_SUCH_NAME", "", *END])

    assert "plugins.smtp.password: missing, but username is set" in result.output
    assert "Now the environment variable NO_SUCH_NAME is not set; it is written as it is." in result.output
    assert config(folder)["plugins"]["smtp"]["password"] == "env:NO_SUCH_NAME"
    assert result.exit_code == 1


def test_a_database_url_with_a_password_goes_into_a_file(folder, answer):
    url = "postgresql://gatepost:hunter2@127.0.0.1:1/gatepost"

    result = answer([*START, "smtp", "relay.example", "", "", "postgresql", url, "", "y", "", ""])

    assert config(folder)["store"] == {"url": "file:secrets/store-url"}
    assert (folder / "secrets" / "store-url").read_text() == f"{url}\n"
    assert url not in result.output


def test_what_the_options_say_is_not_asked(folder, answer):
    result = answer(
        ["", "", ""],
        *("--client", "brand", "--allow-ips", "192.0.2.7", "--callback-hosts", "a.example"),
        *("--contacts", "csv", "--set", "plugins.csv.path=users.csv", "--email", "sandbox"),
        *("--set", "plugins.sandbox.folder=mail", "--sms", "sandbox", "--store", "sqlite:///other.db"),
        *("--public-url", "https://gateway.example", "--trusted-proxies", "::1", "--listen", "[::1]:1"),
    )

    assert result.exit_code == 0, result.output
    assert config(folder)["store"] == {"url": "sqlite:///other.db"}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("plugins.smtp.hots=x", "--set plugins.smtp.hots=VALUE: is not a key here"),
        ("plugins.relay.host=x", "--set plugins.relay.use=VALUE: is missing"),
        ("plugins.relay.use=smpt", "--set plugins.relay.use=VALUE: no such plugin is installed"),
        ("logs.level=loud", "--set logs.level=VALUE: must be one of"),
    ],
)
def test_a_bad_option_that_no_question_follows_is_refused_before_the_questions(
    folder, answer, setting, problem
):
    result = answer([""], "--set", setting)

    assert result.exit_code == 1
    assert problem in result.output
    assert "Smartico's addresses" not in result.output


def test_a_bad_option_is_asked_for_again(folder, answer):
    options = ["--allow-ips", "192.0.2.7/8", "--email", "smpt", "--set", "plugins.csv.path=users.csv"]

    result = answer(
        ["", "192.0.2.7", "", "hunter2", "csv", "", "smtp", "relay.example", "", "", *END], *options
    )

    assert result.exit_code == 0, result.output
    assert "no installed plugin smpt sends email; is it smtp?" in result.output
    assert config(folder)["clients"]["smartico"]["allow_ips"] == ["192.0.2.7"]
    assert config(folder)["routes"] == {"email": ["smtp"]}


@pytest.mark.parametrize("count", [1, 4, 6, 9, 11])
def test_a_conversation_that_ends_early_leaves_nothing(folder, answer, count):
    result = answer([*START, "smtp", "relay.example", "", "", *END][:count])

    assert result.exit_code == 1
    assert sorted(path.name for path in folder.iterdir()) == ["users.csv"]


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self) -> None:
        self.output = ""
        self._position = 0
        self._process, self._terminal = pty.fork()
        if not self._process:
            os.environ["TERM"] = "dumb"
            # A shell ignores it in what it starts in the background, and so does everything that is started from there.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, "-m", "gatepost", "init"])

    def expect(self, text: str) -> None:
        """Wait until the command has printed this text after what was expected before."""
        end = time.monotonic() + DEADLINE
        while text not in self.output[self._position :]:
            assert self._receive(end - time.monotonic()), self.output
        self._position = self.output.index(text, self._position) + len(text)

    def type(self, prompt: str, keys: str) -> None:
        """Type something after a prompt, which is given to its last space.

        A hidden prompt discards what was typed before that space.
        """
        self.expect(prompt)
        os.write(self._terminal, keys.encode())

    def end(self) -> int:
        """Return the exit code."""
        end = time.monotonic() + DEADLINE
        while self._receive(end - time.monotonic()):
            pass
        if time.monotonic() >= end:
            os.kill(self._process, signal.SIGKILL)
        _, status = os.waitpid(self._process, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)

    def _receive(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._terminal], [], [], max(0, seconds))
        try:
            found = os.read(self._terminal, 65_536) if readable else b""
        except OSError:  # the other end is closed
            found = b""
        self.output += found.decode(errors="replace")
        return bool(found)


def test_a_whole_conversation_on_a_real_terminal(folder):
    terminal = Terminal()
    terminal.type("Name of the client [smartico]: ", "\n")
    terminal.type("Smartico's addresses: ", "192.0.2.7\n")
    terminal.type("Hosts of callbacks [*.smartico.ai]: ", "\n")
    terminal.type("file:/path): ", "hunter2\n")
    terminal.type("Contact source: ", "csv\n")
    terminal.type("csv.path: ", "users.csv\n")
    terminal.type("or Enter to go on: ", "\n")
    terminal.type("Plugins for email: ", "smtp\n")
    terminal.type("smtp.host: ", "relay.example\n")
    terminal.type("or Enter to go on: ", "\n")
    terminal.type("Plugins for text messages: ", "\n")
    terminal.type("Store (sqlite, postgresql) [sqlite]: ", "\n")
    terminal.type("Public URL: ", "https://gateway.example\n")
    terminal.type("[Y/n]: ", "\n")
    terminal.type("The proxy's addresses [127.0.0.1, ::1]: ", "\n")
    terminal.type("listen on [127.0.0.1:8080]: ", "\n")
    terminal.expect("Start the gateway: gatepost serve")

    assert terminal.end() == 0, terminal.output
    assert "hunter2" not in terminal.output
    assert (folder / "secrets" / "smartico-callback-api-key").read_text() == "hunter2\n"
    assert config(folder)["clients"]["smartico"]["allow_ips"] == ["192.0.2.7"]


def test_ctrl_c_on_a_real_terminal_leaves_nothing(folder):
    terminal = Terminal()
    terminal.type("Name of the client [smartico]: ", "\n")
    terminal.type("Smartico's addresses: ", "192.0.2.7\n")
    terminal.type("Hosts of callbacks [*.smartico.ai]: ", "\n")
    terminal.type("file:/path): ", "\x03")

    assert terminal.end() == 1
    assert "Aborted" in terminal.output
    assert sorted(path.name for path in folder.iterdir()) == ["users.csv"]
