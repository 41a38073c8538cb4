"""The sockets on which the gateway listens, opened before everything else, so that their faults are found at the start."""

import errno
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gatepost.config.certificate import Certificate
from gatepost.config.networks import parse_listen
from gatepost.config.settings import Settings
from gatepost.errors import Fault
from gatepost.observe import logs
from gatepost.server.inherited_sockets import Inherited, address_of, listens_on
from gatepost.web.admin.own_metrics import own_number

BACKLOG = 2048

_log = logs.get(__name__)


class Listener(NamedTuple):
    """One listening socket, and its certificate."""

    socket: socket.socket
    tls: Certificate | None
    stays_open: bool
    """Whether the service manager has opened it, and keeps it open when this process ends."""

    @property
    def host(self) -> str:
        """The address on which it listens."""
        host: str = self.socket.getsockname()[0]
        return host

    @property
    def url(self) -> str:
        """Its URL without a path."""
        host, port = self.socket.getsockname()[:2]
        scheme = "https" if self.tls else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def announce(self) -> None:
        """Log that the console listens."""
        _log.info("console_listening", url=self.url)


class Listeners:
    """The listeners of one configuration. ``close`` them at the end."""

    def __init__(self, settings: Settings, inherited: Inherited) -> None:
        """Open them, or use one of the sockets that were ``inherited``; where that can't be done, ``faults`` says why."""
        self.faults: list[Fault] = [*inherited.faults]
        self._stay_open = inherited.stay_open
        self._unused = [*inherited.sockets]
        server, console = settings.server, settings.console
        self._public = self._open(server.host, server.port, server.certificate, server.key, _server_fault)
        self.console: Listener | None = None
        """None: there is no console."""
        # The pages must all come from one process: the first of several.
        if console.listen and own_number() in {"", "1"}:
            host, port = parse_listen(console.listen)
            self.console = self._open(host, port, console.certificate, console.key, _console_fault)
        for one in self._unused:
            problem = (
                f"the service manager hands over {address_of(one)}, on which this configuration does not listen: "
                "make the ListenStream of the socket unit and [server] host and port the same"
            )
            self.faults.append(Fault("server", problem))

    @property
    def public(self) -> Listener:
        """The listener for Smartico and the providers; only without faults."""
        assert self._public is not None
        return self._public

    @property
    def stay_open(self) -> bool:
        """Whether the service manager keeps the public listener open when this process ends."""
        return self._public is not None and self._public.stays_open

    @property
    def certificates(self) -> Sequence[Certificate]:
        """The certificates in use."""
        return [one.tls for one in (self._public, self.console) if one and one.tls]

    def take_over(self, settings: Settings) -> None:
        """Use the certificates of these settings for new connections. The addresses can't change."""
        server, console = settings.server, settings.console
        for listener, own in ((self._public, server), (self.console, console)):
            if listener and listener.tls and own.certificate and own.key:
                listener.tls.use(own.certificate, own.key)

    def close(self) -> None:
        """Close the sockets."""
        for one in (self._public, self.console):
            if one:
                one.socket.close()
        for unused in self._unused:
            unused.close()

    def _open(
        self,
        host: str,
        port: int,
        certificate: Path | None,
        key: Path | None,
        fault: Callable[[str, int, OSError], Fault],
    ) -> Listener | None:
        tls = Certificate(certificate, key) if certificate and key else None
        for inherited in self._unused:
            if listens_on(inherited, host, port):
                self._unused.remove(inherited)
                return Listener(inherited, tls, self._stay_open)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            opened = socket.create_server((host, port), family=family, backlog=BACKLOG)
            return Listener(opened, tls, stays_open=False)
        except OSError as error:
            self.faults.append(fault(host, port, error))
            return None


def _server_fault(host: str, port: int, error: OSError) -> Fault:
    which, problem = _problem(host, port, error)
    return Fault(f"server.{which}" if which else "server", problem)


def _console_fault(host: str, port: int, error: OSError) -> Fault:
    return Fault("console.listen", _problem(host, port, error)[1])


def _problem(host: str, port: int, error: OSError) -> tuple[str, str]:
    """Return which part is the cause, if one alone is, and the problem with its cure."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "host", f"this machine has no address {host}: use one of its own, or 0.0.0.0 for all of them"
    if error.errno == errno.EADDRINUSE:
        return "port", f"another program listens on {host} port {port}: stop it, or choose another port"
    if error.errno == errno.EACCES:
        return "port", f"this user may not listen on port {port}: choose a port above 1023"
    return "", f"can't listen on {host} port {port}: {error.strerror}"
