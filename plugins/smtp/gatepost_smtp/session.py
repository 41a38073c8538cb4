"""The start of an SMTP session: connect, greet, encrypt and sign in; and the reasons why that fails."""

import asyncio
import ipaddress
import socket
import ssl
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from gatepost.errors import Unavailable
from gatepost_smtp.connection import Connection
from gatepost_smtp.replies import full_code
from gatepost_smtp.settings import Settings


async def open_session(
    settings: Settings, tls: ssl.SSLContext | None, time_limit: asyncio.Timeout, *, pipelining: bool
) -> Connection:
    """Connect, greet, encrypt and sign in within ``time_limit``; raise Unavailable if one of them fails.

    Without ``pipelining``, the connection does not support it, whatever the server offers.
    """
    client = SMTP(
        hostname=settings.host,
        port=settings.effective_port(),
        # A placeholder: without one the client asks the DNS, which may take half a minute.
        local_hostname="localhost",
        use_tls=settings.security == "tls",
        start_tls=False,
        tls_context=tls,
        timeout=None,
    )
    try:
        async with time_limit:
            await _sign_in(client, settings)
        extensions = set(client.esmtp_extensions)
        return Connection(_transport(client), extensions if pipelining else extensions - {"pipelining"})
    except (SMTPException, OSError, ValueError) as error:
        _abort(client)
        raise _unavailable(error) from None
    except BaseException:
        _abort(client)
        raise


async def _sign_in(client: SMTP, settings: Settings) -> None:
    await client.connect()
    helo = settings.helo or _host_name(client)
    await client.ehlo(hostname=helo)
    if settings.security == "starttls":
        if not client.supports_extension("starttls"):
            raise Unavailable("the relay doesn't offer STARTTLS: check port and security", misconfigured=True)
        await client.starttls()
        await client.ehlo(hostname=helo)
    if settings.password:
        if not client.supported_auth_methods:
            raise Unavailable(
                "the relay offers no way to sign in with a password: check port and security",
                misconfigured=True,
            )
        await client.login(settings.username, settings.password.reveal())


def _transport(client: SMTP) -> asyncio.BaseTransport:
    if client.transport is None:
        raise ConnectionResetError
    return client.transport


def _abort(client: SMTP) -> None:
    """Close the connection at once."""
    if client.transport is not None:
        # uvloop's transports are no subclass of asyncio's.
        cast("asyncio.WriteTransport", client.transport).abort()
    client.close()


def _host_name(client: SMTP) -> str:
    """Return the machine's full name, or else its address on this connection (RFC 5321 §4.1.3)."""
    name = socket.gethostname()
    if "." in name and name.isascii() and name.replace("-", "").replace(".", "").isalnum():
        return name
    address = ipaddress.ip_address(client.get_transport_info("sockname")[0].partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def _unavailable(error: Exception) -> Unavailable:
    """Return the reason why there is no session, without the server's own text."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, SMTPResponseException):
        code = full_code(error.code, error.message) if error.code > 0 else ""
        return Unavailable(
            f"the relay refused the connection or the sign-in ({code})"
            if code
            else "the server does not speak SMTP: check host and port",
            code=code,
            misconfigured=not 400 <= error.code < 500,
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(
            "the relay's certificate is not trusted: check host and ca_file", misconfigured=True
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return Unavailable("no TLS with the relay: check port and security", misconfigured=True)
    if isinstance(error, TimeoutError):
        return Unavailable("the relay did not answer in time")
    if isinstance(cause, socket.gaierror):
        return Unavailable("the relay's name can't be resolved: check host")
    return Unavailable(f"no connection to the relay ({type(cause).__name__})")
