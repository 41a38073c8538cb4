"""A mail transaction (RFC 5321 §3.3): MAIL, RCPT, DATA, the content, and the meaning of each answer.

aiosmtplib's own ``sendmail`` is not used: when an answer is missing, it does not say whether the mail was sent,
its exceptions hold the recipient, and it does not pipeline.
"""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from gatepost.errors import Rejected, SendError, Unavailable, Uncertain
from gatepost_smtp.connection import Connection, ConnectionLost
from gatepost_smtp.deadline import Deadline
from gatepost_smtp.dialogue import Disconnected, InvalidReply, Reply
from gatepost_smtp.mime import Mail
from gatepost_smtp.replies import SERVICE_CLOSING, full_code, refusal


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


class Command(NamedTuple):
    """A command of a transaction."""

    verb: str
    line: str
    success_digit: int
    """The first digit of the answer that means success."""


async def send(
    connection: Connection, envelope: Envelope, mail: Mail, deadline: Deadline
) -> SendError | None:
    """Send the mail.

    Returns None when the server has the mail. Returns an error when the server refused it; the connection is closed or
    can be used again. Raises ConnectionLost, Unavailable, Rejected or Uncertain when the connection must not be
    used again.
    """
    utf8 = mail.utf8 or not envelope.sender.isascii()
    if utf8 and not connection.supports("smtputf8"):
        return Rejected("the relay does not accept addresses with non-ASCII letters (no SMTPUTF8)")
    commands = _commands(connection, envelope, mail, utf8=utf8)
    # RFC 2920: commands in one write save round trips. DATA is the last of them, because the content has to wait for its
    # answer.
    for group in [commands] if connection.supports("pipelining") else [[one] for one in commands]:
        refused = await _execute(connection, group, deadline)
        if refused is not None:
            verb, reply = refused
            error = refusal(verb, reply.code, reply.text, configured_sender=envelope.configured_sender)
            if not 400 <= reply.code < 600:
                raise error
            await _reset(connection, deadline)
            return error
    return await _send_content(connection, mail.content, deadline)


def _commands(connection: Connection, envelope: Envelope, mail: Mail, *, utf8: bool) -> list[Command]:
    mail_arguments, rcpt_arguments = [f"FROM:<{envelope.sender}>"], [f"TO:<{envelope.recipient}>"]
    if connection.supports("size"):
        mail_arguments.append(f"SIZE={len(mail.content)}")
    if utf8:
        mail_arguments += ["BODY=8BITMIME", "SMTPUTF8"]
    if connection.supports("dsn"):
        mail_arguments += ["RET=HDRS", f"ENVID={envelope.id}"]
        rcpt_arguments.append(f"NOTIFY={'SUCCESS,' if envelope.wants_success else ''}FAILURE,DELAY")
    return [
        Command("MAIL", " ".join(["MAIL", *mail_arguments]), 2),
        Command("RCPT", " ".join(["RCPT", *rcpt_arguments]), 2),
        Command("DATA", "DATA", 3),
    ]


async def _execute(
    connection: Connection, commands: Sequence[Command], deadline: Deadline
) -> tuple[str, Reply] | None:
    """Send commands together, and read all their answers; nothing of the content is sent yet.

    Return the first answer that refuses something, with the verb of its command. The connection is closed if it is not
    certain that the server waits for the next command then.
    """
    try:
        connection.write_commands([command.line for command in commands])
    except Disconnected:
        raise ConnectionLost(f"the connection was lost at {commands[0].verb}") from None
    refused: tuple[str, Reply] | None = None
    for verb, _, success_digit in commands:
        try:
            reply = await _read(connection, verb, deadline)
        except Unavailable:
            if refused is None:
                raise
            connection.abort()
            break
        accepted = reply.code // 100 == success_digit
        if refused is None and not accepted:
            if reply.code == SERVICE_CLOSING:
                code = full_code(reply.code, reply.text)
                raise ConnectionLost(f"the relay answered {code} to {verb}", code=code)
            refused = verb, reply
        elif refused is not None and accepted and verb == "DATA":
            # The server waits for content that it must not get.
            connection.abort()
    return refused


async def _read(connection: Connection, verb: str, deadline: Deadline) -> Reply:
    # A reused connection may be dead without a sign of it, so its first command leaves time for another one.
    may_be_dead = connection.mails > 0 and verb == "MAIL"
    try:
        return await connection.read(deadline.latest_start(0.5) if may_be_dead else deadline.end)
    except TimeoutError:
        # Only the first mail tells: a server that answered all commands of one reads them all.
        is_first = connection.mails == 0
        connection.drops_commands = is_first and verb != "MAIL" and connection.supports("pipelining")
        error = ConnectionLost if may_be_dead else Unavailable
        raise error(f"the relay did not answer {verb} in time") from None
    except InvalidReply:
        raise Unavailable(f"the relay's answer to {verb} is not SMTP") from None
    except Disconnected:
        raise ConnectionLost(f"the connection was lost at {verb}") from None


async def _send_content(connection: Connection, content: bytes, deadline: Deadline) -> SendError | None:
    # The content ends with CRLF, has no other line ends, and begins with a header. So this is all that
    # dot-stuffing needs, and no sequence in the content ends the mail early.
    stuffed = content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    try:
        connection.write_content(stuffed)
    except Disconnected:
        raise ConnectionLost("the connection was lost at DATA") from None
    try:
        reply = await connection.read(deadline.end)
        is_early = connection.has_unsent
    except TimeoutError:
        raise Uncertain("no answer in time after the mail was sent") from None
    except Disconnected:
        raise Uncertain("the connection was lost after the mail was sent") from None
    except InvalidReply:
        raise Uncertain("the relay's answer to the mail is not SMTP") from None
    if reply.code // 100 == 2:
        if is_early:
            raise Uncertain("the relay accepted the mail before it had all of it")
        return None
    if not 400 <= reply.code < 600:
        raise Uncertain("the relay's answer to the mail is not SMTP")
    if reply.code == SERVICE_CLOSING or is_early:
        # A server that has not read on takes the rest of the content for commands.
        connection.abort()
    else:
        await _reset(connection, deadline)
    return refusal("the mail", reply.code, reply.text, configured_sender=False)


async def _reset(connection: Connection, deadline: Deadline) -> None:
    """Reset the server after a refused mail; abort the connection if that fails."""
    with contextlib.suppress(Disconnected, InvalidReply, TimeoutError):
        if (await connection.execute("RSET", deadline.end)).code // 100 == 2:
            return
    connection.abort()
