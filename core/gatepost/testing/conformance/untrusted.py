"""Servers that a plugin must not trust: one with a certificate by no authority, and one that reports may lead to."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gatepost.testing.serving import stop

# For localhost, signed by itself, valid for a hundred years. Its key is public here, and protects nothing.
_CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfy+Ccr09Zu2uxqXO
/TyBbaGQllfpLsExhvboo6lMwJihRANCAAQqRbLnVpXqNMmncbtv70YigXNPYBpU
jrpTlsL+arFJW2/WqwEr1zIQxrPes8g5WE2uOE4eqMB+p7Yrr86N4z8X
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUbXIqUNgL9DlS70v/BYUjFuooYeMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzAzMjcyM1oYDzIxMjYxMTAz
MDMyNzIzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQqRbLnVpXqNMmncbtv70YigXNPYBpUjrpTlsL+arFJW2/WqwEr1zIQ
xrPes8g5WE2uOE4eqMB+p7Yrr86N4z8Xo28wbTAdBgNVHQ4EFgQUhvt/drgUui9n
N4WkmG6FQqeP/qUwHwYDVR0jBBgwFoAUhvt/drgUui9nN4WkmG6FQqeP/qUwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgEkGfaZxKvdS63bN6GMwiozEQFUbwGjNhPQkCoF2bEcMCIQDe
aHzE8arH29+AIlefomx005rcyYQ35ef61XMKiEgjNg==
-----END CERTIFICATE-----
"""


_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class CountingServer:
    """A server that counts what comes."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        """TCP connections."""
        self.received = 0
        """Connections whose client went on after it had seen the certificate, or that sent anything without TLS."""


@asynccontextmanager
async def untrusted_server() -> AsyncIterator[CountingServer]:
    """Run a TLS server on this machine whose certificate is signed by itself."""
    counts = CountingServer()

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.connections += 1
        try:
            await writer.start_tls(context)
            counts.received += 1
        except (OSError, ValueError):
            # The client has refused the certificate. ssl.SSLError is an OSError.
            pass
        finally:
            writer.close()

    context = await asyncio.to_thread(_tls_context)
    async with _serving(counts, handle):
        yield counts


@asynccontextmanager
async def trap_server() -> AsyncIterator[CountingServer]:
    """Run a plain server on this machine to which no plugin has a reason to connect."""
    counts = CountingServer()

    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.connections += 1
        writer.close()

    async with _serving(counts, handle):
        yield counts


@asynccontextmanager
async def _serving(counts: CountingServer, handle: _Handler) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "no task runs this handler"
        tasks.add(task)
        await handle(reader, writer)

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    counts.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        await stop(server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        file.write_text(_CERTIFICATE)
        context.load_cert_chain(file)
    return context
