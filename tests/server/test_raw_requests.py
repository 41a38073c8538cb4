"""What a caller can write onto a socket, at a real gateway in a process of its own."""

import json
import socket
import struct

import pytest

from fuzz import gateway
from fuzz.driver import Line, take_answer
from fuzz.gateway import message, request
from gatepost.testing.process import GatewayProcess

PATHS = ("/email", "/sms")


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with GatewayProcess(gateway.write(tmp_path_factory.mktemp("gateway"))) as running:
        yield running
        assert gateway.faults(running.log) == []


@pytest.fixture
def line(process):
    opened = Line(gateway.address(process))
    yield opened
    opened.close()


def asked(line, data):
    """The answer to this one request."""
    line.send(data)
    return line.read()


def everything(line, data):
    """Every answer to these bytes, when nothing else is sent; the connection is over."""
    try:
        line.send(data)
        came = line.rest()
    except ConnectionError:
        return []
    answers = []
    while (answer := take_answer(came)) is not None:
        answers.append(answer)
    assert not came
    return answers


MALFORMED = {
    "nothing": b"",
    "invalid UTF-8": b'{"ext_user_id": "\xff"}',
    "invalid UTF-8 where nobody reads": message().replace(b"{", b'{"unknown": "\xff", ', 1),
    "overlong NUL": b'{"ext_user_id": "\xc0\x80"}',
    "encoded surrogate": b'{"ext_user_id": "\xed\xa0\x80"}',
    "escaped surrogate": b'{"ext_user_id": "\\ud800"}',
    "UTF-16": '{"ext_user_id": "x"}'.encode("utf-16"),
    "nested lists": b"[" * 60_000,
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "nested in a field": b'{"ext_user_id": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "a huge number": b'{"ext_user_id": ' + b"9" * 60_000 + b"}",
    "a huge exponent": b'{"ext_user_id": 1e999999999}',
    "NaN": b'{"ext_user_id": NaN}',
    "NUL": message(ext_user_id="a\0b"),
    "raw NUL": message().replace(b"nobody", b"no\0body"),
    "two objects": message() * 2,
    "a form": b"ext_user_id=anna&body=x",
    "XML": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_5(line, path, body):
    assert asked(line, request(path, body=body)).code == 5


HARMLESS = {
    "numbers in fields that nobody knows": message().replace(b"{", b'{"n": 1e308, "m": -0, "k": [[[]]], ', 1),
    "a field twice, the last counts": message().replace(b"{", b'{"ext_user_id": "anna", ', 1),
    "a byte order mark": b"\xef\xbb\xbf" + message(),
    "white space": b" \r\n\t" + message() + b"\n",
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_a_body_that_is_only_odd_is_read(line, body):
    assert asked(line, request(body=body)).code == 1


@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Type: text/html",),
        (b"Content-Type: application/json; charset=utf-16",),
        (b"Content-Type: \xff\xfe",),
        (b"Content-Type: application/json", b"Content-Type: text/plain"),
        (b"Content-Encoding: identity",),
        (b"Content-Encoding:",),
        (b"Accept: \xe4\xf6",),
        (b"Cookie: =\xff; ;;=",),
        (b"Host: a`b",),
        (b"Host: \xff",),
        (b"Host:",),
        (
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: x",
            b"Sec-WebSocket-Version: 13",
        ),
        (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk"),
        (b"Expect: something",),
        (b"X-HTTP-Method-Override: DELETE",),
        (b"X-Forwarded-For: 1.2.3.4",),
        (b"X-Original-URL: /metrics",),
        (b"TE: trailers", b"Trailer: X"),
        (b"X-Long: " + b"x" * 16_000,),
        tuple(b"X-%d: y" % number for number in range(100)),
    ],
    ids=lambda headers: headers[0][:40].decode("latin-1"),
)
def test_no_header_of_a_sound_request_keeps_it_from_its_answer(line, headers):
    assert asked(line, request("/email", *headers, body=message())).code == 1


@pytest.mark.parametrize(
    "encoding", [b"gzip", b"GZIP", b"br \t", b"identity, gzip", b"447700900123", b"\xff"]
)
def test_an_encoded_body_is_5_and_the_encoding_is_named(line, encoding):
    """Also where it is not what it is said to be; and nothing is named that is no encoding's name."""
    answer = asked(line, request("/email", b"Content-Encoding: " + encoding, body=message()))
    assert answer.code == 5
    named = {b"gzip": "gzip", b"GZIP": "gzip", b"br \t": "br"}.get(encoding, "(unknown)")
    assert json.loads(answer.body)["error_message"].startswith(f"Content-Encoding: {named} is not taken")
    assert asked(line, request("/email", b"Content-Encoding: gzip", body=b" " * 65537)).code == 6


@pytest.mark.parametrize("before", [b"", b" ", b"\t \t"])
@pytest.mark.parametrize("behind", [b"", b" ", b" \t "])
def test_blanks_around_the_secret_are_no_part_of_it(line, before, behind):
    header = b"Authorization:" + before + b"the-secret" + behind
    assert asked(line, request("/email", header, body=message(), secret=b"")).code == 1


NUMBERS = {
    "a number": (b"42", "42"),
    "a negative one": (b"-7", "-7"),
    "one that no float holds": (b"12345678901234567890123456789", "12345678901234567890123456789"),
}


@pytest.mark.parametrize(("written", "digits"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_where_an_id_is_expected_is_its_digits(line, written, digits):
    """The same content as the digits as a text: what was accepted is known again, and anything else is 9."""
    as_text = message(ext_user_id="anna", email_uid=digits)
    as_number = as_text.replace(b'"%s"' % digits.encode(), written)
    assert as_number != as_text
    accepted = asked(line, request(body=as_number))
    assert accepted.code == 0
    assert asked(line, request(body=as_text)).body == accepted.body
    assert asked(line, request(body=as_text.replace(b'"anna"', b"42"))).code == 9
    sender = message("/sms", from_number=digits).replace(b'"%s"' % digits.encode(), written)
    assert asked(line, request("/sms", body=sender)).code == 1


@pytest.mark.parametrize("field", ["ext_user_id", "email_uid", "body", "to_email_address"])
@pytest.mark.parametrize(
    "value", [b"4.2", b"42.0", b"1e3", b"true", b"null", b"[42]", b'{"n": 42}', b"9" * 513]
)
def test_what_is_no_whole_number_is_no_id(line, field, value):
    fields = {"activity_type": "preview"} if field == "to_email_address" else {}
    body = message(**{**fields, field: "HERE"}).replace(b'"HERE"', value)
    answer = asked(line, request(body=body))
    assert answer.code == 5
    assert field in json.loads(answer.body)["error_message"]


@pytest.mark.parametrize("value", [b"42", b"7"])
def test_a_number_where_a_text_is_expected_is_5(line, value):
    assert asked(line, request(body=message(subject="HERE").replace(b'"HERE"', value))).code == 5


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (b"Authorization:",),
        (b"Authorization: The-Secret",),
        (b"Authorization: the-secret", b"Authorization: the-secret"),
        (b"Authorization: x", b"Authorization: the-secret"),
        (b"Authorization: the-secret", b"AUTHORIZATION: x"),
        (b"Authorization: \xff\xfe\x80",),
        (b"Authorization: the-secret, the-secret",),
        (b"Authorization: the-secret\xa0",),
        (b"Proxy-Authorization: the-secret",),
        (b"X-Authorization: the-secret",),
    ],
    ids=lambda headers: b" ".join(headers).decode("latin-1"),
)
def test_without_the_one_secret_nobody_is_let_in(line, headers):
    assert asked(line, request("/email", *headers, body=message(), secret=b"")).code == 3


@pytest.mark.parametrize(
    "target", ["/email?x", "/email?", "/email#x", "http://elsewhere/email", "https://x:1/email?y"]
)
def test_other_forms_of_the_same_target_are_the_contracts(line, target):
    assert asked(line, request(target, body=message())).code == 1
    assert asked(line, request(target, body=message(), secret=b"x")).code == 3


TRICKS = [
    *(
        "/email/",
        "//email",
        "/%65mail",
        "/./email",
        "/x/../email",
        "/email//",
        "/email;x",
        "/email%2f",
        "/Email",
    ),
    *(
        "/email%00",
        "/%ff",
        "/email%ff",
        "/email\\",
        "/.%2e/email",
        "/%2e/email",
        "///",
        "/%2femail",
        "/email.",
    ),
    *("/metrics/../email", "/webhooks/../email", "/control/../email", "/webhooks/%2e%2e", "/webhooks/", "/~"),
]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("target", TRICKS)
def test_no_spelling_of_a_path_gets_round_the_checks(line, target, method):
    answer = asked(line, request(target, body=message(), secret=b"wrong", method=method))
    assert answer.code == 3 or answer.status in {400, 404, 405}


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("target", ["/Email", "/nowhere", "/webhooks/nobody", "/control/nothing"])
def test_where_there_is_nothing_the_answer_is_a_status_and_no_more(line, target, method):
    """Whichever address it is: none shows what else there may be, or what stands behind the gateway."""
    answer = asked(line, request(target, body=message(), method=method))
    assert answer.status in {404, 405}
    assert answer.body == b""


def test_without_a_host_or_with_two_nothing_is_read(line):
    """RFC 9112, 3.2; before version 1.1 there need not be one."""
    sound = request(body=message())
    for host in (b"", b"Host: gateway.example\r\nHost: gateway.example\r\n", b"Host: a\r\nhOST: b\r\n"):
        (answer,) = everything(line, sound.replace(b"Host: gateway.example\r\n", host))
        assert answer.status == 400
        assert b"Host" in answer.body
    upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
    (answer,) = everything(line, sound.replace(b"Host: gateway.example\r\n", upgrade))
    assert (answer.status, b"Host" in answer.body) == (400, True)
    old = sound.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: gateway.example\r\n", b"")
    assert [answer.code for answer in everything(line, old)] == [1]


@pytest.mark.parametrize(
    "headers",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"transfer-encoding: x-unheard-of,CHUNKED",
    ],
)
def test_a_body_in_a_coding_that_is_not_undone_is_501(line, headers):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\n" + headers + b"\r\n\r\n"
    body = message()
    (answer,) = everything(line, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) + SMUGGLED)
    assert answer.status == 501
    assert b"chunked" in answer.body


@pytest.mark.parametrize("header", [b"Transfer-Encoding: Chunked", b"Transfer-Encoding: , chunked"])
def test_chunks_alone_are_read(line, header):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\n" + header + b"\r\n\r\n"
    body = message()
    assert asked(line, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)).code == 1


def test_what_is_no_request_is_told_what_is_wrong(line):
    (no_http,) = everything(line, b"nonsense\r\n\r\n")
    (no_target,) = everything(line, b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n")
    (too_large,) = everything(line, request("/email", b"X: " + b"x" * 40_000))
    for answer, status, said in (
        (no_http, 400, b"this is not HTTP/1.1: "),
        (no_target, 400, b"this is not HTTP/1.1: "),
        (too_large, 431, b"the request's head has more than 32 KiB or 128 headers"),
    ):
        assert answer.status == status
        assert answer.body.startswith(said)
        assert b"content-type: text/plain" in answer.head
        # Nothing of what came.
        assert b"nonsense" not in answer.body
        assert b"xx" not in answer.body


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "PURGE", "PROPFIND", "M-SEARCH"]
)
@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_405(line, path, method):
    assert asked(line, request(path, body=b"", method=method)).status == 405


@pytest.mark.parametrize(
    "method", ["SEND", "post", "CONNECT", "PRI", "POST\t", "\xff", "GET /x HTTP/1.1\r\n"]
)
def test_what_is_no_method_is_400(line, method):
    assert [answer.status for answer in everything(line, request(method=method))] in ([400], [])


SMUGGLED = request("/sms", body=message("/sms"))
BROKEN = {
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of lengths": b"Content-Length: 2, 2\r\n\r\n{}",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "a hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}",
    "a length without end": b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "no length": b"Content-Length:\r\n\r\n{}",
    "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"Transfer-Encoding:\r\n chunked\r\n\r\n",
    "a vertical tab": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a NUL in a header": b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "a bare CR": b"X: a\rContent-Length: 2\r\n\r\n{}",
    "no name": b": x\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": b"nonsense\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk of no size": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative size": b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk of a huge size": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a length as a trailer": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("rest", BROKEN.values(), ids=BROKEN)
def test_framing_that_can_be_read_in_two_ways_smuggles_nothing(line, rest):
    """One refusal at the most, and nothing that is said on that connection afterwards is heard."""
    data = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\n" + rest + SMUGGLED
    assert [answer.status for answer in everything(line, data)] in ([400], [])


def test_what_is_wrong_behind_a_good_request_does_not_take_its_answer(line):
    answers = everything(line, request(body=message()) + b"\x16\x03\x01 nonsense\r\n\r\n" + SMUGGLED)
    assert [answer.code for answer in answers] == [1]


def test_a_broken_body_does_not_take_the_answers_before_it(line):
    broken = b"POST /sms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    answers = everything(line, request(body=message()) + request(body=b"") + broken + SMUGGLED)
    assert [answer.code for answer in answers] == [1, 5]


def test_requests_behind_each_other_are_answered_in_their_order(line):
    bodies = [message(), b"{", message(callback_url="http://evil.example/"), message(), b""]
    line.send(b"".join(request(body=body) for body in bodies))
    assert [line.read().code for _ in bodies] == [1, 5, 7, 1, 5]


def test_a_row_of_requests_without_waiting_is_answered_to_the_last(line):
    row = [(b"{", 5), (message(), 1), (b"", 5)] * 200
    upgrade = request("/email", b"Connection: upgrade", b"Upgrade: h2c", body=message())
    answers = everything(line, b"".join(request(body=body) for body, _ in row) + upgrade + SMUGGLED)
    assert [answer.code for answer in answers] == [*(code for _, code in row), 1, 1]


def test_the_body_of_a_request_that_wants_to_upgrade_is_no_request(line):
    upgrade = request("/email", b"Connection: upgrade", b"Upgrade: h2c", body=SMUGGLED)
    answers = everything(line, upgrade + request(body=b"{") + SMUGGLED)
    assert [answer.code for answer in answers] == [5, 5, 1]


def test_the_unread_rest_of_a_body_is_no_request(line):
    """The answer comes before the body is there, and what follows is still that body."""
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    assert asked(line, head).status == 404
    assert asked(line, SMUGGLED + request(body=b"")).code == 5


def test_who_asks_whether_to_go_on_is_told(line):
    head = request("/email", b"Expect: 100-continue", body=b"").replace(b"Length: 0", b"Length: 2")
    line.send(head)
    assert line._socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert asked(line, b"{}").code == 5


def test_who_is_not_let_in_is_not_told_to_go_on(line):
    assert asked(line, request("/email", b"Expect: 100-continue", secret=b"x")).code == 3


def test_a_caller_of_old_is_answered(line):
    answers = everything(line, request(body=message()).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert [answer.code for answer in answers] == [1]


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11", b"HTTX/1.1", b""])
def test_other_versions_are_one_request_or_none(line, version):
    answers = everything(line, request(body=message()).replace(b"HTTP/1.1", version, 1))
    assert [answer.code or answer.status for answer in answers] in ([1], [400], [])


def test_the_preface_of_http_2_is_no_request(line):
    answers = everything(line, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9 + SMUGGLED)
    assert [answer.status for answer in answers] in ([400], [])


def test_a_trailer_is_no_header(line):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n"
    body = message()
    chunks = b"%x\r\n%s\r\n0\r\nAuthorization: the-secret\r\n\r\n" % (len(body), body)
    assert asked(line, head + chunks).code == 3


@pytest.mark.parametrize(
    "headers",
    [[b"X-Long: " + b"x" * 40_000], [b"X-%d: y" % number for number in range(200)], [b"a:"] * 9000],
    ids=["long", "many", "short"],
)
def test_a_flood_of_headers_is_431(line, headers):
    assert [answer.status for answer in everything(line, request("/email", *headers))] in ([431], [])


ENDLESS = {
    "a header": (b"POST /email HTTP/1.1\r\nX: ", b"x" * 65536),
    "headers": (b"POST /email HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
    "a target": (b"POST /", b"x" * 65536),
    "a trailer": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"x" * 65536,
    ),
    "a chunk's extension": (
        b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nTransfer-Encoding: chunked\r\n\r\n1;a=",
        b"x" * 65536,
    ),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_whatever_has_no_end_is_cut_off_and_not_kept(process, line, begin, more):
    asked(line, request())
    before = gateway.memory(process.pid)
    with pytest.raises(ConnectionError):  # noqa: PT012  which of the sends it is, is the kernel's to say
        # 64 MB at the most, which nobody takes in.
        line.send(begin)
        for _ in range(1000):
            line.send(more)
    assert gateway.memory(process.pid) < before + 20 * 2**20


def test_a_body_over_the_limit_is_6_by_its_length_and_by_its_chunks(line):
    assert asked(line, request(body=b" " * 65537)).code == 6
    head = (
        b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert asked(line, head + (b"1\r\n \r\n" * 70_000) + b"0\r\n\r\n").code == 6
    assert asked(line, request(body=message())).code == 1


def test_a_caller_who_is_gone_meets_the_message_again(process):
    """The handler finishes what it began: the uid is known, so that a repeat is no second message."""
    body = message(ext_user_id="anna", email_uid="gone")
    gone = socket.create_connection(gateway.address(process))
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.sendall(request(body=body))
    gone.recv(1)
    gone.close()
    again = Line(gateway.address(process))
    assert (
        asked(again, request(body=message(ext_user_id="anna", email_uid="gone", subject="other"))).code == 9
    )
    assert asked(again, request(body=body)).code == 0
    again.close()


@pytest.mark.parametrize("cut", [1, 20, 60, -1])
def test_a_caller_who_goes_in_the_middle_leaves_nothing(process, line, cut):
    with socket.create_connection(gateway.address(process)) as gone:
        gone.sendall(request(body=message(email_uid=f"cut{cut}"))[:cut])
    assert asked(line, request(body=message(email_uid=f"cut{cut}"))).code == 1


def test_who_sends_no_more_still_gets_the_answer(line):
    assert [answer.code for answer in everything(line, request(body=message()))] == [1]


def test_no_caller_can_fill_the_log(process, line):
    for _ in range(50):
        everything(line, b"nonsense\r\n\r\n")
    said = process.log.read_text()
    assert said.count("not_http") == 1
    assert said.count("stranger") <= 1
