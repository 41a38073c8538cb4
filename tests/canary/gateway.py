"""A contact with unmistakable values, and a gateway process of which every output is recorded."""

import asyncio
import base64
import csv
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import aiohttp
from click.testing import CliRunner

from canary import searcher
from gatepost.cli import main
from gatepost.testing.process import GatewayProcess
from gatepost.testing.smartico import Smartico
from misbehaving_plugins import plugins as misbehaving
from toml_values import toml_value

EMAIL = "jabberwock.vorpal+tag@snicker-snack.example"
PHONE = "+447700900461"
NAMES = ("Thessaly", "Quäsimont")
# A person that a source or a report names before the gateway knows the contact.
COLD = {
    "email": "mome.raths@outgrabe-wabe.example",
    "phone": "+447700900857",
    "first_name": "Eudoxia",
    "last_name": "Vantongeren",
}
PREVIEW = "bandersnatch.preview@frumious-office.example"
UNLISTED = "mimsy.borogove@uffish-thought.example"
PRIVATE_TEXT = f"{EMAIL} {PHONE[1:]} {' '.join(NAMES)}"

SECRETS = {
    "authorization": "Bearer tulgey-wood-7c51",
    "callback key": "manxome-foe-9d02",
    "SendGrid key": "SG.tumtum-tree-41ae",
    "relay password": "galumphing-back-88b0",
    "sandbox secret": "callooh-callay-03c3",
    "misbehaving's key": "outgrabe-mome-rath-5e5e",
    "token key": base64.b64encode(b"the-slithy-toves-did-gyre-gimble").decode(),
}

PEOPLE = {
    **searcher.of_person(EMAIL, PHONE, *NAMES),
    **{f"cold {name}": value for name, value in searcher.of_person(*COLD.values()).items()},
    "preview's local part": PREVIEW.partition("@")[0],
    "unlisted preview's local part": UNLISTED.partition("@")[0],
}
EVERYTHING = {**PEOPLE, **SECRETS}


def planted(hits: list[str], places: dict[str, tuple[str, str]]) -> set[str]:
    """Return where planted values were found; ``places`` has the name and the text of the value of each place."""
    return {
        f"{place} ({hit.partition(': ')[0]})"
        for hit in hits
        for place, (name, _) in places.items()
        if hit.partition(": ")[2].startswith(f"{name} plain")
    }


class Sink:
    """An SMTP server that gives prepared answers, one for each mail."""

    def __init__(self) -> None:
        self.sessions = 0
        self.plans: list[tuple[str, str]] = []
        """For each of the next mails the command and the answer to it; "" closes the connection."""
        self._under_way: set[asyncio.Task[None]] = set()

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        task = asyncio.current_task()
        assert task
        self._under_way.add(task)
        try:
            await self._talk(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self._under_way.discard(task)
            writer.close()

    async def end(self) -> None:
        """Close every connection; a pooled one would stay open otherwise."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink ESMTP\r\n")
        plan = ("", "")
        try:
            while line := await reader.readline():
                verb = line[:4].strip().upper().decode("latin-1")
                if verb == "MAIL":
                    plan = self.plans.pop(0) if self.plans else ("", "")
                answer = {"EHLO": "250-sink\r\n250 AUTH PLAIN", "DATA": "354 go on", "AUTH": "235 ok"}.get(
                    verb, "250 ok"
                )
                if verb == plan[0]:
                    answer = plan[1]
                if verb == "DATA" and answer.startswith("354"):
                    writer.write(f"{answer}\r\n".encode())
                    await reader.readuntil(b"\r\n.\r\n")
                    answer = plan[1] if plan[0] == "END" else "250 ok"
                if not answer:
                    break
                writer.write(f"{answer}\r\n".encode())
                if verb == "QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass


class Canary:
    """A gateway's configuration, the record of its outputs, and the search in them."""

    def __init__(self, folder: Path, crm: Smartico) -> None:
        self.folder = folder
        self.crm = crm
        self.outputs: list[str] = []
        """Answers, pages, and the output of commands."""
        self.tables: dict[str, dict[str, object]] = {
            "server": {"port": 0, "token_keys": [SECRETS["token key"]]},
            "clients.brand": {
                "authorization": [crm.authorization],
                "allow_ips": ["127.0.0.1"],
                "callback_api_key": crm.api_key,
                "callback_hosts": ["127.0.0.1"],
                "allow_private_callbacks": True,
                "preview_recipients": [PREVIEW],
                "merge_fields": True,
                "public_url": "https://links.example",
                "unsubscribe": True,
                "open_pixel": True,
            },
            "contacts": {"sources": ["players"]},
            "delivery": {"uncertain": "hold", "uncertain_wait": 0.5},
            "routes": {},
            "logs": {"level": "debug", "format": "json"},
            "plugins.players": {"use": "csv", "path": "contacts.csv", "check_every": 0.05},
        }

    def misbehaving(self, name: str, **settings: object) -> None:
        self.tables[f"plugins.{name}"] = {
            "use": "misbehaving",
            "key": SECRETS["misbehaving's key"],
            **settings,
        }

    def write(self, **routes: list[str] | list[dict[str, object]]) -> GatewayProcess:
        """Write the configuration with these routes; returns a process that is not started yet."""
        self.tables["routes"] = dict(routes)
        lines = []
        for name, table in self.tables.items():
            lines.append(f"[{name}]")
            lines += [f"{key} = {toml_value(value)}" for key, value in table.items()]
        config = self.folder / "gatepost.toml"
        config.write_text("\n".join(lines))
        self.contacts([EMAIL, PHONE, *NAMES])
        environment = {
            **misbehaving.install(self.folder / "dist"),
            "PYTHONFAULTHANDLER": "1",
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.process = GatewayProcess(config, environment=environment)
        return self.process

    def contacts(self, *rows: list[str]) -> None:
        with (self.folder / "contacts.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            columns = ["ext_user_id", "email", "phone", "first_name", "last_name", "blocked"]
            writer.writerow(columns[: max(5, 1 + max(map(len, rows)))])
            writer.writerows([f"user-{number}", *row] for number, row in enumerate(rows))

    async def email(self, **fields: str | None) -> dict[str, object]:
        return self._record(await self.crm.send_email(**{"ext_user_id": "user-0", **fields}))

    async def sms(self, **fields: str | None) -> dict[str, object]:
        return self._record(
            await self.crm.send_sms(**{"ext_user_id": "user-0", "from_number": "Brand", **fields})
        )

    def _record(self, answer):
        self.outputs.append(json.dumps(answer))
        return answer

    async def raw(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        """Send any request, record the answer, and return its status."""
        headers = {"Authorization": self.crm.authorization, **headers}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.process.url + path, data=body or None, headers=headers) as response,
        ):
            self.outputs += [str(response.raw_headers), await response.text(errors="replace")]
            return response.status

    async def admin(self, operation: str, **request: object) -> str:
        """Let the gateway run an operation over its admin socket; record the answer and return it."""
        connector = aiohttp.UnixConnector(path=str(self.folder / "gatepost.db.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.post(f"http://gateway/{operation}", json=request) as response,
        ):
            self.outputs.append(await response.text())
            return self.outputs[-1]

    async def wait_for_sends(self, sends: int) -> None:
        """Wait until this many attempts to send have ended, then record every page."""
        async with asyncio.timeout(60):
            while True:
                await self.raw("GET", "/metrics")
                counted = [
                    line for line in self.outputs[-1].splitlines() if line.startswith("gatepost_sends_total")
                ]
                if sum(float(line.rpartition(" ")[2]) for line in counted) >= sends:
                    break
                del self.outputs[-2:]
                await asyncio.sleep(0.05)
        for path in ("/health/ready", "/health/live"):
            await self.raw("GET", path)

    async def logged(self, *events: str) -> None:
        """Wait until the log has all of these events."""
        async with asyncio.timeout(60):
            while lacking := [event for event in events if event not in self.process.log.read_text()]:
                await asyncio.sleep(0.05)
                assert self.process.running, f"the process ended before it logged {lacking}"

    async def command(self, *arguments: str) -> str:
        """Run a command, record its output and return its stdout."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "gatepost", *arguments],
            capture_output=True,
            env=self.process.environment | {"GATEPOST_CONFIG": str(self.process.config), "COLUMNS": "200"},
            check=False,
        )
        self.outputs += [done.stdout.decode(), done.stderr.decode()]
        return self.outputs[-2]

    async def operate(self, *arguments: str) -> str:
        """Run a command that needs no plugin in this process, which is faster; record its output and return it."""
        runner = CliRunner(env={"COLUMNS": "200"})
        done = await asyncio.to_thread(
            runner.invoke, main, [*arguments, "--config", str(self.process.config)]
        )
        self.outputs.append(done.output)
        return done.output

    def stored(self) -> bytes:
        """Return all bytes of the SQLite store; what was written last may be in the WAL only."""
        return b"".join(path.read_bytes() for path in self.folder.glob("gatepost.db*") if path.is_file())

    def record_processes(self) -> None:
        """Record what a list of processes shows of the gateway, its threads and its child processes.

        Only its own user can see its environment.
        """
        family = [self.process.pid]
        for pid in family:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                # A thread may end while its files are read.
                with suppress(FileNotFoundError, ProcessLookupError):
                    self.outputs.append((thread / "comm").read_text())
                    family += map(int, (thread / "children").read_text().split())
            self.outputs.append(Path(f"/proc/{pid}/cmdline").read_text())

    def hits(self) -> list[str]:
        """Return every private value in the outputs and in the files that the gateway wrote."""
        # Except the operator's own files: the configuration, the contacts, the plugin's code, the mailbox.
        own = ("gatepost.toml", "contacts.csv", "dist", "box")
        hits = searcher.in_folder(self.folder, EVERYTHING, but=own)
        return hits + [
            f"output: {hit}" for text in self.outputs for hit in searcher.found(text.encode(), EVERYTHING)
        ]
