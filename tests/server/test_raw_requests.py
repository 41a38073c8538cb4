"""Arbitrary bytes on a socket, sent to a gateway in its own process."""

import json
import socket
import struct

import pytest

from fuzz import gateway
from fuzz.driver import Connection, take_answer
from fuzz.gateway import message, request
from gatepost.testing.process import GatewayProcess

PATHS = ("/email", "/sms")


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with GatewayProcess(gateway.write(tmp_path_factory.mktemp("gateway"))) as running:
        yield running
        assert gateway.log_errors(running.log) == []


@pytest.fixture
def line(process):
    opened = Connection(gateway.address(process))
    yield opened
    opened.close()


def answer_to(line, data):
    """Send one request and return its answer."""
    line.send(data)
    return line.receive()


def all_answers(line, data):
    """Send these bytes and nothing more, and return every answer until the connection ends."""
    try:
        line.send(data)
        came = line.receive_all()
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
    "invalid UTF-8 in an unknown field": message().replace(b"{", b'{"unknown": "\xff", ', 1),
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
    assert answer_to(line, request(path, body=body)).code == 5


HARMLESS = {
    "numbers in unknown fields": message().replace(b"{", b'{"n": 1e308, "m": -0, "k": [[[]]], ', 1),
    "a field twice, the last counts": message().replace(b"{", b'{"ext_user_id": "anna", ', 1),
    "a byte order mark": b"\xef\xbb\xbf" + message(),
    "white space": b" \r\n\t" + message() + b"\n",
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_an_unusual_but_valid_body_is_read(line, body):
    assert answer_to(line, request(body=body)).code == 1


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
def test_no_header_keeps_a_valid_request_from_its_answer(line, headers):
    assert answer_to(line, request("/email", *headers, body=message())).code == 1


@pytest.mark.parametrize(
    "encoding", [b"gzip", b"GZIP", b"br \t", b"identity, gzip", b"447700900123", b"\xff"]
)
def test_an_encoded_body_is_5_and_the_encoding_is_named(line, encoding):
    """Also for a body that is not encoded; only a registered encoding is named."""
    answer = answer_to(line, request("/email", b"Content-Encoding: " + encoding, body=message()))
    assert answer.code == 5
    named = {b"gzip": "gzip", b"GZIP": "gzip", b"br \t": "br"}.get(encoding, "(unknown)")
    assert json.loads(answer.body)["error_message"].startswith(f"Content-Encoding: {named} is not supported")
    assert answer_to(line, request("/email", b"Content-Encoding: gzip", body=b" " * 65537)).code == 6


@pytest.mark.parametrize("before", [b"", b" ", b"\t \t"])
@pytest.mark.parametrize("behind", [b"", b" ", b" \t "])
def test_spaces_around_the_secret_are_ignored(line, before, behind):
    header = b"Authorization:" + before + b"the-secret" + behind
    assert answer_to(line, request("/email", header, body=message(), secret=b"")).code == 1


NUMBERS = {
    "a number": (b"42", "42"),
    "a negative one": (b"-7", "-7"),
    "one beyond the precision of a float": (
        b"12345678901234567890123456789",
        "12345678901234567890123456789",
    ),
}


@pytest.mark.parametrize(("written", "digits"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_where_an_id_is_expected_is_its_digits(line, written, digits):
    """The same content with the digits as a text is a repeat, and different content is code 9."""
    as_text = message(ext_user_id="anna", email_uid=digits)
    as_number = as_text.replace(b'"%s"' % digits.encode(), written)
    assert as_number != as_text
    accepted = answer_to(line, request(body=as_number))
    assert accepted.code == 0
    assert answer_to(line, request(body=as_text)).body == accepted.body
    assert answer_to(line, request(body=as_text.replace(b'"anna"', b"42"))).code == 9
    sender = message("/sms", from_number=digits).replace(b'"%s"' % digits.encode(), written)
    assert answer_to(line, request("/sms", body=sender)).code == 1


@pytest.mark.parametrize("field", ["ext_user_id", "email_uid", "body", "to_email_address"])
@pytest.mark.parametrize(
    "value", [b"4.2", b"42.0", b"1e3", b"true", b"null", b"[42]", b'{"n": 42}', b"9" * 513]
)
def test_a_value_that_is_not_a_whole_number_is_not_an_id(line, field, value):
    fields = {"activity_type": "preview"} if field == "to_email_address" else {}
    body = message(**{**fields, field: "HERE"}).replace(b'"HERE"', value)
    answer = answer_to(line, request(body=body))
    assert answer.code == 5
    assert field in json.loads(answer.body)["error_message"]


@pytest.mark.parametrize("value", [b"42", b"7"])
def test_a_number_where_a_text_is_expected_is_5(line, value):
    assert answer_to(line, request(body=message(subject="HERE").replace(b'"HERE"', value))).code == 5


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
def test_a_request_without_exactly_one_valid_secret_is_refused(line, headers):
    assert answer_to(line, request("/email", *headers, body=message(), secret=b"")).code == 3


@pytest.mark.parametrize(
    "target", ["/email?x", "/email?", "/email#x", "http://elsewhere/email", "https://x:1/email?y"]
)
def test_other_forms_of_a_target_reach_the_same_handler(line, target):
    assert answer_to(line, request(target, body=message())).code == 1
    assert answer_to(line, request(target, body=message(), secret=b"x")).code == 3


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
    *("/metrics/../email", "/webhooks/../email", "/admin/../email", "/webhooks/%2e%2e", "/webhooks/", "/~"),
]


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("target", TRICKS)
def test_no_spelling_of_a_path_bypasses_authentication(line, target, method):
    answer = answer_to(line, request(target, body=message(), secret=b"wrong", method=method))
    assert answer.code == 3 or answer.status in {400, 404, 405}


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("target", ["/Email", "/nowhere", "/webhooks/nobody", "/admin/nothing"])
def test_the_answer_without_a_route_is_a_status_only(line, target, method):
    """No path shows which routes exist, or which framework the gateway uses."""
    answer = answer_to(line, request(target, body=message(), method=method))
    assert answer.status in {404, 405}
    assert answer.body == b""


def test_a_request_without_exactly_one_host_header_is_refused(line):
    """RFC 9112, section 3.2; HTTP/1.0 does not need one."""
    valid = request(body=message())
    for host in (b"", b"Host: gateway.example\r\nHost: gateway.example\r\n", b"Host: a\r\nhOST: b\r\n"):
        (answer,) = all_answers(line, valid.replace(b"Host: gateway.example\r\n", host))
        assert answer.status == 400
        assert b"Host" in answer.body
    upgrade = b"Connection: upgrade\r\nUpgrade: h2c\r\n"
    (answer,) = all_answers(line, valid.replace(b"Host: gateway.example\r\n", upgrade))
    assert (answer.status, b"Host" in answer.body) == (400, True)
    http_1_0 = valid.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: gateway.example\r\n", b"")
    assert [answer.code for answer in all_answers(line, http_1_0)] == [1]


@pytest.mark.parametrize(
    "headers",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"transfer-encoding: x-unheard-of,CHUNKED",
    ],
)
def test_an_unsupported_transfer_coding_is_501(line, headers):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\n" + headers + b"\r\n\r\n"
    body = message()
    (answer,) = all_answers(line, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) + SMUGGLED_REQUEST)
    assert answer.status == 501
    assert b"chunked" in answer.body


@pytest.mark.parametrize("header", [b"Transfer-Encoding: Chunked", b"Transfer-Encoding: , chunked"])
def test_a_chunked_body_is_read(line, header):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\n" + header + b"\r\n\r\n"
    body = message()
    assert answer_to(line, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)).code == 1


def test_the_answer_to_an_invalid_request_says_what_is_wrong(line):
    (not_http,) = all_answers(line, b"nonsense\r\n\r\n")
    (invalid_target,) = all_answers(line, b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n")
    (too_large,) = all_answers(line, request("/email", b"X: " + b"x" * 40_000))
    for answer, status, problem in (
        (not_http, 400, b"this is not HTTP/1.1: "),
        (invalid_target, 400, b"this is not HTTP/1.1: "),
        (too_large, 431, b"the request's head has more than 32 KiB or 128 headers"),
    ):
        assert answer.status == status
        assert answer.body.startswith(problem)
        assert b"content-type: text/plain" in answer.head
        # Nothing of the request is quoted.
        assert b"nonsense" not in answer.body
        assert b"xx" not in answer.body


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "PURGE", "PROPFIND", "M-SEARCH"]
)
@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_405(line, path, method):
    assert answer_to(line, request(path, body=b"", method=method)).status == 405


@pytest.mark.parametrize(
    "method", ["SEND", "post", "CONNECT", "PRI", "POST\t", "\xff", "GET /x HTTP/1.1\r\n"]
)
def test_an_invalid_method_is_400(line, method):
    assert [answer.status for answer in all_answers(line, request(method=method))] in ([400], [])


SMUGGLED_REQUEST = request("/sms", body=message("/sms"))
AMBIGUOUS = {
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
    "a chunk with an invalid size": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "a chunk of a negative size": b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk of a huge size": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than its size": b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a length as a trailer": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_framing_smuggles_no_request(line, rest):
    """It gets one refusal at most, and nothing later on that connection is read."""
    data = b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\n" + rest + SMUGGLED_REQUEST
    assert [answer.status for answer in all_answers(line, data)] in ([400], [])


def test_invalid_bytes_after_a_request_do_not_suppress_its_answer(line):
    answers = all_answers(line, request(body=message()) + b"\x16\x03\x01 nonsense\r\n\r\n" + SMUGGLED_REQUEST)
    assert [answer.code for answer in answers] == [1]


def test_an_invalid_body_does_not_suppress_earlier_answers(line):
    invalid = b"POST /sms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    answers = all_answers(line, request(body=message()) + request(body=b"") + invalid + SMUGGLED_REQUEST)
    assert [answer.code for answer in answers] == [1, 5]


def test_pipelined_requests_are_answered_in_order(line):
    bodies = [message(), b"{", message(callback_url="http://evil.example/"), message(), b""]
    line.send(b"".join(request(body=body) for body in bodies))
    assert [line.receive().code for _ in bodies] == [1, 5, 7, 1, 5]


def test_many_pipelined_requests_are_all_answered(line):
    bodies = [(b"{", 5), (message(), 1), (b"", 5)] * 200
    upgrade = request("/email", b"Connection: upgrade", b"Upgrade: h2c", body=message())
    answers = all_answers(
        line, b"".join(request(body=body) for body, _ in bodies) + upgrade + SMUGGLED_REQUEST
    )
    assert [answer.code for answer in answers] == [*(code for _, code in bodies), 1, 1]


def test_the_body_of_a_request_with_upgrade_is_not_parsed_as_a_request(line):
    upgrade = request("/email", b"Connection: upgrade", b"Upgrade: h2c", body=SMUGGLED_REQUEST)
    answers = all_answers(line, upgrade + request(body=b"{") + SMUGGLED_REQUEST)
    assert [answer.code for answer in answers] == [5, 5, 1]


def test_the_unread_rest_of_a_body_is_not_parsed_as_a_request(line):
    """The answer comes before the body has arrived, and what follows still belongs to the body."""
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED_REQUEST)
    assert answer_to(line, head).status == 404
    assert answer_to(line, SMUGGLED_REQUEST + request(body=b"")).code == 5


@pytest.mark.parametrize("others", [[], [b"Expect: other"]])
def test_expect_continue_is_answered(line, others):
    head = request("/email", b"Expect: 100-continue", *others, body=b"").replace(b"Length: 0", b"Length: 2")
    line.send(head)
    assert line._socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer_to(line, b"{}").code == 5


def test_expect_continue_is_not_answered_without_authentication(line):
    assert answer_to(line, request("/email", b"Expect: 100-continue", secret=b"x")).code == 3


def test_http_1_0_is_answered(line):
    answers = all_answers(line, request(body=message()).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert [answer.code for answer in answers] == [1]


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11", b"HTTX/1.1", b""])
def test_other_http_versions_are_one_request_at_most(line, version):
    answers = all_answers(line, request(body=message()).replace(b"HTTP/1.1", version, 1))
    assert [answer.code or answer.status for answer in answers] in ([1], [400], [])


def test_the_http_2_preface_is_refused(line):
    answers = all_answers(line, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9 + SMUGGLED_REQUEST)
    assert [answer.status for answer in answers] in ([400], [])


def test_a_trailer_does_not_count_as_a_header(line):
    head = b"POST /email HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n"
    body = message()
    chunks = b"%x\r\n%s\r\n0\r\nAuthorization: the-secret\r\n\r\n" % (len(body), body)
    assert answer_to(line, head + chunks).code == 3


@pytest.mark.parametrize(
    "headers",
    [[b"X-Long: " + b"x" * 40_000], [b"X-%d: y" % number for number in range(200)], [b"a:"] * 9000],
    ids=["long", "many", "short"],
)
def test_too_many_or_too_long_headers_are_431(line, headers):
    assert [answer.status for answer in all_answers(line, request("/email", *headers))] in ([431], [])


ENDLESS = {
    "a header": (b"POST /email HTTP/1.1\r\nX: ", b"x" * 65536),
    "headers": (b"POST /email HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
    "a target": (b"POST /", b"x" * 65536),
    "a trailer": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"x" * 65536,
    ),
    "a chunk extension": (
        b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nTransfer-Encoding: chunked\r\n\r\n1;a=",
        b"x" * 65536,
    ),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS)
def test_endless_input_is_cut_off_and_not_buffered(process, line, begin, more):
    answer_to(line, request())
    before = gateway.memory(process.pid)
    with pytest.raises(ConnectionError):  # noqa: PT012  which of the sends fails depends on the kernel
        # 64 MB at most, which the gateway does not read.
        line.send(begin)
        for _ in range(1000):
            line.send(more)
    assert gateway.memory(process.pid) < before + 20 * 2**20


def test_a_body_over_the_limit_is_6_by_its_length_and_by_its_chunks(line):
    assert answer_to(line, request(body=b" " * 65537)).code == 6
    head = (
        b"POST /email HTTP/1.1\r\nHost: x\r\nAuthorization: the-secret\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert answer_to(line, head + (b"1\r\n \r\n" * 70_000) + b"0\r\n\r\n").code == 6
    assert answer_to(line, request(body=message())).code == 1


def test_a_message_is_stored_although_its_client_disconnected(process):
    """The handler finishes what it began: the uid is known, so a repeat is not a second message."""
    body = message(ext_user_id="anna", email_uid="gone")
    client = socket.create_connection(gateway.address(process))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sendall(request(body=body))
    client.recv(1)
    client.close()
    again = Connection(gateway.address(process))
    assert (
        answer_to(again, request(body=message(ext_user_id="anna", email_uid="gone", subject="other"))).code
        == 9
    )
    assert answer_to(again, request(body=body)).code == 0
    again.close()


@pytest.mark.parametrize("cut", [1, 20, 60, -1])
def test_an_incomplete_request_leaves_no_message(process, line, cut):
    with socket.create_connection(gateway.address(process)) as client:
        client.sendall(request(body=message(email_uid=f"cut{cut}"))[:cut])
    assert answer_to(line, request(body=message(email_uid=f"cut{cut}"))).code == 1


def test_a_half_closed_connection_gets_its_answer(line):
    assert [answer.code for answer in all_answers(line, request(body=message()))] == [1]


def test_no_client_can_fill_the_log(process, line):
    for _ in range(50):
        all_answers(line, b"nonsense\r\n\r\n")
    log = process.log.read_text()
    assert log.count("invalid_http_request") == 1
    assert log.count("authentication_failed") <= 1
