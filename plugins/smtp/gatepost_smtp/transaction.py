"""A mail transaction (RFC 5321 §3.3): MAIL, RCPT, DATA, the content, and the meaning of each answer.

aiosmtplib's own ``sendmail`` is not used: when an answer is missing, it does not say whether the mail was sent,
and its exceptions hold the recipient.
"""

import contextlib
from typing import NamedTuple

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost_smtp.connection import Connection, ConnectionLost
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.mime import Mail
from gatepost_smtp.replies import SERVICE_CLOSING, refusal


class Envelope(NamedTuple):
    """The sender and the recipient that the server gets; it never reads them from the headers."""

    id: str
    sender: str
    recipient: str
    configured_sender: bool
    """Whether the sender is from the settings and not from the message."""
    wants_success: bool = False
    """Whether the server is asked to report a delivery, if it can."""

    def __repr__(self) -> str:
        return f"<Envelope {self.id}>"


async def send(
    connection: Connection, envelope: Envelope, mail: Mail, deadline: Deadline
) -> SendError | None:
    """Send the mail.

    Returns None when the server has the mail. Returns an error when the server refused it and the connection
    can be used again. Raises ConnectionLost, Unavailable, Rejected or Uncertain when the connection must not be
    used again.
    """
    utf8 = mail.utf8 or not envelope.sender.isascii()
    if utf8 and not connection.supports("smtputf8"):
        return Rejected("the relay does not accept addresses with non-ASCII letters (no SMTPUTF8)")
    for command, arguments, success_digit in _commands(connection, envelope, mail, utf8=utf8):
        reply = await _execute(connection, command, arguments, deadline)
        if reply.code // 100 == success_digit:
            continue
        if reply.code == SERVICE_CLOSING and command == "MAIL":
            raise ConnectionLost("the relay closed the connection", code=str(SERVICE_CLOSING))
        error = refusal(command, reply.code, reply.message, configured_sender=envelope.configured_sender)
        if not 400 <= reply.code < 600:
            raise error
        await _reset(connection, reply, deadline)
        return error
    return await _send_content(connection, mail.content, deadline)


def _commands(
    connection: Connection, envelope: Envelope, mail: Mail, *, utf8: bool
) -> list[tuple[str, list[str], int]]:
    """Return each command, its arguments and the first digit of the answer that means success."""
    mail_arguments, rcpt_arguments = [f"FROM:<{envelope.sender}>"], [f"TO:<{envelope.recipient}>"]
    if connection.supports("size"):
        mail_arguments.append(f"SIZE={len(mail.content)}")
    if utf8:
        mail_arguments += ["BODY=8BITMIME", "SMTPUTF8"]
    if connection.supports("dsn"):
        mail_arguments += ["RET=HDRS", f"ENVID={envelope.id}"]
        rcpt_arguments.append(f"NOTIFY={'SUCCESS,' if envelope.wants_success else ''}FAILURE,DELAY")
    return [("MAIL", mail_arguments, 2), ("RCPT", rcpt_arguments, 2), ("DATA", [], 3)]


async def _execute(
    connection: Connection, command: str, arguments: list[str], deadline: Deadline
) -> SMTPResponse:
    """Send a command and return its answer; nothing of the content is sent yet."""
    # A reused connection may be dead without a sign of it, so its first command leaves time for another one.
    may_be_dead = connection.mails > 0 and command == "MAIL"
    try:
        async with deadline.until_start(0.5) if may_be_dead else deadline.until_end():
            return await connection.client.execute_command(
                command.encode("ascii"), *(argument.encode() for argument in arguments)
            )
    except TimeoutError:
        error = ConnectionLost if may_be_dead else Unavailable
        raise error(f"the relay did not answer {command} in time") from None
    except SMTPResponseException:
        raise Unavailable(f"the relay's answer to {command} is not SMTP") from None
    except (SMTPException, OSError):
        raise ConnectionLost(f"the connection was lost at {command}") from None


async def _send_content(connection: Connection, content: bytes, deadline: Deadline) -> SendError | None:
    protocol = connection.client.protocol
    if protocol is None:
        raise ConnectionLost("the connection was lost at DATA")
    # The content ends with CRLF, has no other line ends, and begins with a header. So this is all that
    # dot-stuffing needs, and no sequence in the content ends the mail early.
    stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    try:
        protocol.write(stuffed)
    except SMTPException:
        raise ConnectionLost("the connection was lost at DATA") from None
    try:
        async with deadline.until_end():
            reply = await protocol.read_response()
    except TimeoutError:
        raise Uncertain("no answer in time after the mail was sent") from None
    except (SMTPException, OSError):
        raise Uncertain("the connection was lost after the mail was sent") from None
    if reply.code // 100 == 2:
        return None
    if not 400 <= reply.code < 600:
        raise Uncertain("the relay's answer to the mail is not SMTP")
    await _reset(connection, reply, deadline)
    return refusal("the mail", reply.code, reply.message, configured_sender=False)


async def _reset(connection: Connection, reply: SMTPResponse, deadline: Deadline) -> None:
    """Reset the server after a refused mail; abort the connection if that fails."""
    if reply.code != SERVICE_CLOSING:
        with contextlib.suppress(SMTPException, OSError):
            async with deadline.until_end():
                await connection.client.rset()
            return
    connection.abort()
