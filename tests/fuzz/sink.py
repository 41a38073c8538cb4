"""A mail server that accepts every mail and stores its bytes unchanged."""

import socketserver
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Mail:
    """One mail."""

    commands: list[bytes] = field(default_factory=list)
    """The MAIL and RCPT commands."""
    raw: bytes = b""
    """The bytes after DATA, still dot-stuffed and with the final dot."""


class Sink:
    """The server, as a context manager; a mail is in ``mails`` as soon as its final dot has come."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.verbs: set[bytes] = set()
        sink = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                sink._serve(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def _serve(self, session: socketserver.StreamRequestHandler) -> None:
        mail = Mail()
        session.wfile.write(b"220 sink.example ESMTP\r\n")
        while line := session.rfile.readline():
            verb = line.split(b" ")[0].strip().upper()
            self.verbs.add(verb)
            if verb == b"EHLO":
                session.wfile.write(
                    b"250-sink.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 100000000\r\n"
                )
            elif verb == b"DATA":
                session.wfile.write(b"354 go on\r\n")
                while not mail.raw.endswith(b"\r\n.\r\n"):
                    mail.raw += session.rfile.readline()
                self.mails.append(mail)
                mail = Mail()
                session.wfile.write(b"250 2.0.0 ok\r\n")
            elif verb == b"QUIT":
                return
            else:
                if verb == b"RSET":
                    mail = Mail()
                elif verb in {b"MAIL", b"RCPT"}:
                    mail.commands.append(line)
                session.wfile.write(b"250 2.0.0 ok\r\n")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
