"""The certificate of the bounce listener."""

import asyncio
import ssl
from pathlib import Path

from structlog.stdlib import BoundLogger

from gatepost.errors import ConfigError, Fault


class BounceCertificate:
    """Reads the certificate for each connection, so that a renewed one is used without a reload."""

    def __init__(self, certificate: Path, key: Path, log: BoundLogger) -> None:
        """Read the files; raises ConfigError if they can't be used."""
        self._files = (certificate, key)
        self._log = log
        self._newest = _load(*self._files)
        self._is_valid = True

    async def newest(self) -> ssl.SSLContext:
        """Return a TLS context with the newest certificate that could be read."""
        try:
            self._newest = await asyncio.to_thread(_load, *self._files)
            self._is_valid = True
        except ConfigError as error:
            if self._is_valid:
                problem = f"{error.faults[0]}; the old certificate stays in use"
                self._log.error("certificate_not_renewed", problem=problem)
            self._is_valid = False
        return self._newest


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    setting = "bounce_certificate"
    try:
        for setting, path in (("bounce_certificate", certificate), ("bounce_key", key)):  # noqa: B007  for the fault below
            path.open("rb").close()
        # With no password at all OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(certificate, key, "")
    except ssl.SSLError:
        problem = "this and bounce_key are not a matching pair of PEM files, or the key is encrypted"
        raise ConfigError([Fault("bounce_certificate", problem)]) from None
    except OSError as error:
        raise ConfigError([Fault(setting, f"can't be read ({error.strerror})")]) from None
    return context
