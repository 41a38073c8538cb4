"""One mail over one connection: MAIL, RCPT, DATA, the mail, and what each answer means.

aiosmtplib's own ``sendmail`` is not used: it does not say whether the mail was out when the answer
failed to come, and its exceptions hold the recipient.
"""

import contextlib
from typing import NamedTuple

from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost_smtp.connections import Connection, Deadline, Lost
from gatepost_smtp.mime import Mail
from gatepost_smtp.replies import CLOSING, refusal


class Envelope(NamedTuple):
    """Who a mail is from and for, as the server is told; never read from the headers."""

    id: str
    sender: str
    recipient: str
    own_sender: bool
    """The sender is out of the settings and not the message's own."""

    def __repr__(self) -> str:
        return f"<Envelope {self.id}>"


async def deliver(
    connection: Connection, envelope: Envelope, mail: Mail, deadline: Deadline
) -> SendError | None:
    """Hand the mail over. None: the server has it; an error that is returned: it said that it has not,
    and the connection is good for another mail.

    Raises Lost, Unavailable, Rejected or Uncertain where the connection is not to be used again.
    """
    utf8 = mail.utf8 or not envelope.sender.isascii()
    if utf8 and not connection.offers("smtputf8"):
        return Rejected("the relay takes no addresses with letters outside ASCII (no SMTPUTF8)")
    for command, arguments, expected in _commands(connection, envelope, mail, utf8=utf8):
        reply = await _ask(connection, command, arguments, deadline)
        if reply.code // 100 == expected:
            continue
        if reply.code == CLOSING and command == "MAIL":
            raise Lost("the relay closed the connection", code=str(CLOSING))
        refused = refusal(command, reply.code, reply.message, own_sender=envelope.own_sender)
        if not 400 <= reply.code < 600:
            raise refused
        await _forget(connection, reply, deadline)
        return refused
    return await _hand_over(connection, mail.content, deadline)


def _commands(
    connection: Connection, envelope: Envelope, mail: Mail, *, utf8: bool
) -> list[tuple[str, list[str], int]]:
    """Each command, its arguments, and the first digit of the answer that leads on."""
    sender, recipient = [f"FROM:<{envelope.sender}>"], [f"TO:<{envelope.recipient}>"]
    if connection.offers("size"):
        sender.append(f"SIZE={len(mail.content)}")
    if utf8:
        sender += ["BODY=8BITMIME", "SMTPUTF8"]
    if connection.offers("dsn"):
        sender += ["RET=HDRS", f"ENVID={envelope.id}"]
        recipient.append("NOTIFY=FAILURE,DELAY")
    return [("MAIL", sender, 2), ("RCPT", recipient, 2), ("DATA", [], 3)]


async def _ask(
    connection: Connection, command: str, arguments: list[str], deadline: Deadline
) -> SMTPResponse:
    """One command and its answer, before anything of the mail is out."""
    # A kept connection may be dead without anybody having said so: its first command leaves enough
    # time for another connection.
    doubtful = connection.mails > 0 and command == "MAIL"
    try:
        async with deadline.beginning(0.5) if doubtful else deadline.limit():
            return await connection.client.execute_command(
                command.encode("ascii"), *(argument.encode() for argument in arguments)
            )
    except TimeoutError:
        error = Lost if doubtful else Unavailable
        raise error(f"the relay did not answer {command} in time") from None
    except SMTPResponseException:
        raise Unavailable(f"the relay's answer to {command} is not SMTP") from None
    except (SMTPException, OSError):
        raise Lost(f"the connection was lost at {command}") from None


async def _hand_over(connection: Connection, content: bytes, deadline: Deadline) -> SendError | None:
    protocol = connection.client.protocol
    if protocol is None:
        raise Lost("the connection was lost at DATA")
    # The content ends in CRLF, has no other line ends, and begins with a header: this is all there is
    # to dot-stuffing, and no sequence in it ends the mail early.
    stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    try:
        protocol.write(stuffed)
    except SMTPException:
        raise Lost("the connection was lost at DATA") from None
    try:
        async with deadline.limit():
            reply = await protocol.read_response()
    except TimeoutError:
        raise Uncertain("no answer in time after the mail was out") from None
    except (SMTPException, OSError):
        raise Uncertain("the connection was lost after the mail was out") from None
    if reply.code // 100 == 2:
        return None
    if not 400 <= reply.code < 600:
        raise Uncertain("the relay's answer to the mail is not SMTP")
    await _forget(connection, reply, deadline)
    return refusal("the mail", reply.code, reply.message, own_sender=False)


async def _forget(connection: Connection, reply: SMTPResponse, deadline: Deadline) -> None:
    """Have the server forget a refused mail; a connection that can't is cut off."""
    if reply.code != CLOSING:
        with contextlib.suppress(SMTPException, OSError):
            async with deadline.limit():
                await connection.client.rset()
            return
    connection.abort()
