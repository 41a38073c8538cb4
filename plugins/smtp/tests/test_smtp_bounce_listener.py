"""Bounces that other mail servers bring to the listener, on real sockets."""

from gatepost_smtp.addresses import return_path
from gatepost_smtp.testing.bounces import BounceClient

ID = "0192d3a4-5b6c-7d8e-9f00-112233445566"
OTHER = "ffffffff-5b6c-7d8e-9f00-112233445566"
KEY = "a shared secret"
DOMAIN = "bounces.example"
ADDRESS = return_path(ID, DOMAIN, KEY)
COMPLAINTS = f"complaints@{DOMAIN}"


def bounce(action="failed", returned=""):
    return (
        "From: MAILER-DAEMON@mx.example\r\nTo: x@y.example\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=limit\r\n\r\n"
        "--limit\r\nContent-Type: text/plain\r\n\r\nSorry\r\n"
        "--limit\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; ann@post.example\r\nAction: {action}\r\nStatus: 5.1.1\r\n\r\n"
        f"--limit\r\nContent-Type: message/rfc822\r\n\r\n{returned}\r\n--limit--"
    )


async def test_a_bounce_is_recorded_before_it_is_accepted(recorder, listener):
    async with BounceClient.connected(listener) as client:
        assert await client.begin(ADDRESS) == [250, 354]
        assert await client.end(bounce()) == 250

    assert recorder.events == [("failed", ID, "5.1.1")]
