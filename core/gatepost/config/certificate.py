"""The gateway's own TLS certificate, and how a new one is taken over while the gateway runs."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs

RENEW_EVERY = 20.0
"""Seconds between two looks at whether the files have changed."""

_log = logs.get(__name__)


def load(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's TLS context; raises ConfigError when the two files are no pair or can't be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    setting = "certificate"
    try:
        for setting, path in (("certificate", certificate), ("key", key)):  # noqa: B007  for the fault below
            path.open("rb").close()
        # An empty password: without one a key that has any would ask for it on the terminal.
        context.load_cert_chain(certificate, key, "")
    except ssl.SSLError:
        text = "certificate and key are no pair of PEM files, or the key has a password"
        raise ConfigError([Fault("server.certificate", text)]) from None
    except OSError as error:
        raise ConfigError([Fault(f"server.{setting}", f"can't be read ({error.strerror})")]) from None
    return context


class Certificate:
    """A TLS context whose certificate follows its files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises ConfigError, as ``load`` does."""
        self._files = (certificate, key)
        self._marks = self._look()
        self._newest = self.context = load(*self._files)
        """For the listener. Each handshake gets the newest pair: it is replaced as a whole or not at all."""
        self.context.sni_callback = self._hand_over

    async def follow(self) -> None:
        """Look at the files every RENEW_EVERY seconds until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            # In a thread: the files may be on a disk that is far away.
            await asyncio.to_thread(self._renew)

    def _renew(self) -> None:
        marks = self._look()
        if marks == self._marks:
            return
        self._marks = marks
        try:
            self._newest = load(*self._files)
        except ConfigError as error:
            _log.error("certificate_not_renewed", problem=f"{error.faults[0]}; the old one stays")
        except Exception as error:  # noqa: BLE001  the next look must come whatever this one met
            _log.error(
                "certificate_not_renewed", problem="an error of ours; the old one stays", exc_info=error
            )
        else:
            _log.info("certificate_renewed")

    def _look(self) -> Sequence[tuple[int, int, int] | None]:
        """What changes when a file is written or replaced; None for one that can't be looked at."""
        return [_mark(path) for path in self._files]

    def _hand_over(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._newest


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
