"""The gateway's own TLS certificate, which is renewed without a restart when its files change."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gatepost.errors import ConfigError, Fault
from gatepost.observe import logs

CHECK_INTERVAL = 20.0
"""Seconds between two checks whether the files have changed."""

_FileStamp = tuple[int, int, int]
"""The inode, the time of the last change and the size of a file: they differ when it was written or replaced."""

_EXPLICIT_VERSION = 0xA0
_UTC_TIME = 0x17
"""Tags of DER."""

_log = logs.get(__name__)


def certificate_faults(certificate: Path | None, key: Path | None, table: str) -> Sequence[Fault]:
    """Return the faults of a table's ``certificate`` and ``key``, which may both be missing."""
    if certificate is None and key is None:
        return ()
    if certificate is None or key is None:
        return [Fault(f"{table}.certificate", "certificate and key go together: set both or neither")]
    try:
        load(certificate, key, table)
    except ConfigError as error:
        return error.faults
    return ()


def load(certificate: Path, key: Path, table: str = "server") -> ssl.SSLContext:
    """Return a server's TLS context; raises ConfigError when the files can't be read or do not belong together.

    ``table`` is where the configuration names them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    setting = "certificate"
    try:
        for setting, path in (("certificate", certificate), ("key", key)):  # noqa: B007  for the fault below
            path.open("rb").close()
        # With no password at all OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, "")
    except ssl.SSLError:
        text = "certificate and key are not a matching pair of PEM files, or the key is encrypted with a password"
        raise ConfigError([Fault(f"{table}.certificate", text)]) from None
    except OSError as error:
        raise ConfigError([Fault(f"{table}.{setting}", f"can't be read ({error.strerror})")]) from None
    return context


def ends_at(certificate: Path) -> float | None:
    """Return when the first certificate of a file ends, in seconds since the epoch; None where that can't be read."""
    try:
        text = certificate.read_text("ascii", "replace")
        body = text[text.index(ssl.PEM_HEADER) : text.index(ssl.PEM_FOOTER)] + ssl.PEM_FOOTER
        return _end(ssl.PEM_cert_to_DER_cert(body))
    except (OSError, ValueError, IndexError):
        return None


def _end(certificate: bytes) -> float:
    """Return the end of a certificate's validity; raise ValueError or IndexError for another text.

    The standard library has no function for that (RFC 5280, 4.1: TBSCertificate).
    """
    _, content, _ = _der_value(certificate, 0)
    _, content, _ = _der_value(content, 0)
    tag, _, place = _der_value(content, 0)
    # The version may be missing. Then: serial number, signature, issuer, validity.
    for _ in range(3 if tag == _EXPLICIT_VERSION else 2):
        _, _, place = _der_value(content, place)
    _, validity, _ = _der_value(content, place)
    _, _, place = _der_value(validity, 0)
    tag, moment, _ = _der_value(validity, place)
    text = moment.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _der_value(data: bytes, place: int) -> tuple[int, bytes, int]:
    """Return the tag and the content of the value at this place, and the place after it."""
    tag, length, start = data[place], data[place + 1], place + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[place + 2 : start])
    return tag, data[start : start + length], start + length


class Certificate:
    """A TLS context that offers the newest certificate in its files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load the files; raises ConfigError as ``load`` does."""
        self._files = (certificate, key)
        self._stamps = self._read_stamps()
        self._newest = self.context = load(*self._files)
        """For the listener. Each handshake uses the newest pair, which is replaced as a whole or not at all."""
        self.context.sni_callback = self._use_newest

    def use(self, certificate: Path, key: Path) -> None:
        """Use the newest pair in these files from now on; if they can't be loaded, the log says why."""
        self._files = (certificate, key)
        self._stamps = ()
        self._renew()

    async def follow(self) -> None:
        """Check the files every CHECK_INTERVAL seconds until cancelled."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            # In a thread, because the files may be on a slow network disk.
            await asyncio.to_thread(self._renew)

    def _renew(self) -> None:
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._newest = load(*self._files)
        except ConfigError as error:
            _log.error(
                "certificate_not_renewed", problem=f"{error.faults[0]}; the old certificate stays in use"
            )
        except Exception as error:  # noqa: BLE001  an error of this check must not prevent the next one
            _log.error(
                "certificate_not_renewed",
                problem="an unexpected error; the old certificate stays in use",
                exc_info=error,
            )
        else:
            _log.info("certificate_renewed")

    def _read_stamps(self) -> Sequence[_FileStamp | None]:
        return [_file_stamp(path) for path in self._files]

    def _use_newest(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._newest


def _file_stamp(path: Path) -> _FileStamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
