"""What is read as an answer, and what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.answers import MAX_HEAD_BYTES, AnswerReader, BadAnswer

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*parts: bytes, method: str = "POST", max_body: int = 100) -> AnswerReader:
    reader = AnswerReader(method, max_body)
    for part in parts:
        reader.feed(part)
    return reader


COMPLETE = [
    (OK + b"Content-Length: 2\r\n\r\nok", b"ok", True),
    (OK + b"Content-Length: 0\r\nX: \r\n\r\n", b"", True),
    (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok", b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
    (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"", True),
    (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
    (CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\nX: trailer\r\n\r\n", b"ok", True),
    # Interim answers.
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok", True),
    (b"HTTP/1.1 103 Hints\r\nX: y\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok", True),
    # What a browser takes as well.
    (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok", True),
    (b"\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok", True),
]


@pytest.mark.parametrize(("data", "body", "keeps_connection"), COMPLETE)
def test_an_answer_is_read(data, body, keeps_connection):
    reader = read(data)

    assert reader.is_complete
    assert reader.keeps_connection is keeps_connection
    assert reader.answer.status in {200, 204, 304}
    assert reader.answer.body == body
    assert "x" not in reader.answer.headers or reader.answer.headers["X"] == ""


@given(case=st.sampled_from(COMPLETE), cuts=st.lists(st.integers(0, 120)))
def test_an_answer_is_the_same_in_any_parts(case, cuts):
    data, body, keeps_connection = case
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = read(*(data[begin:end] for begin, end in pairwise(ends) if begin < end))

    assert reader.is_complete
    assert (reader.answer.body, reader.keeps_connection) == (body, keeps_connection)


@pytest.mark.parametrize(("data", "body", "_keeps_connection"), COMPLETE)
def test_a_connection_is_not_reused_when_anything_follows_the_answer(data, body, _keeps_connection):
    second = b"HTTP/1.1 500 Other\r\nX: 2\r\nContent-Length: 5\r\n\r\nother"
    for surplus in (second, second[:4], b"x", b"\0" * 1000):
        for reader in (read(data + surplus), read(data, surplus)):
            assert reader.is_complete
            assert not reader.keeps_connection
            assert (reader.answer.body, reader.answer.headers.get("X", "")) == (body, "")


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"Content-Length: -2\r\n\r\nok",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\nok",
        CHUNKED + b"xyz\r\nok\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(BadAnswer):
        read(data)


@pytest.mark.parametrize("data", [OK + b"\r\nok", b"HTTP/1.0 200 OK\r\n\r\nok"])
def test_an_answer_without_length_ends_with_the_connection(data):
    reader = read(data)
    assert not reader.is_complete

    assert reader.feed_end()
    assert reader.answer.body == b"ok"
    assert not reader.keeps_connection


@pytest.mark.parametrize(
    "data",
    [
        b"",
        OK,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Content-Length: 3\r\n\r\nok",
        OK + b"Content-Length : 3\r\n\r\nok",
        OK + b"Transfer-Encoding: gzip\r\n\r\nok",
        CHUNKED + b"2\r\nok\r\n",
    ],
)
def test_an_answer_that_is_cut_is_refused(data):
    with pytest.raises(BadAnswer):
        read(data).feed_end()


@pytest.mark.parametrize("data", [b"x" * 101, b"x" * 1_000_000])
def test_a_long_body_is_cut(data):
    reader = read(OK + b"Content-Length: 1000000\r\n\r\n", data)

    assert reader.is_complete
    assert not reader.keeps_connection
    assert reader.answer.body == b"x" * 100


def test_a_body_of_the_whole_length_is_not_cut():
    assert read(OK + b"Content-Length: 100\r\n\r\n" + b"x" * 100).keeps_connection


@pytest.mark.parametrize(
    "flood", [b"A: " + b"x" * 1000 + b"\r\n", b"\r\nHTTP/1.1 100 Continue\r\nA: " + b"x" * 1000 + b"\r\n"]
)
def test_a_head_without_end_is_refused(flood):
    with pytest.raises(BadAnswer):
        read(b"HTTP/1.1 100 Continue\r\n", *[flood] * (MAX_HEAD_BYTES // 1000 + 1))


@pytest.mark.parametrize(
    ("begin", "flood"),
    [(b"", b"1;" + b"x" * 1000 + b"\r\na\r\n"), (b"0\r\n", b"A: " + b"x" * 1000 + b"\r\n")],
)
def test_framing_without_end_ends_the_answer(begin, flood):
    reader = read(CHUNKED + begin, *[flood] * (MAX_HEAD_BYTES // 1000 + 1))

    assert reader.is_complete
    assert not reader.keeps_connection
    assert len(reader.answer.headers) == 1


@pytest.mark.parametrize(("length", "keeps_connection"), [(b"Content-Length: 2\r\n", True), (b"", False)])
def test_the_answer_to_head_has_no_body(length, keeps_connection):
    reader = read(OK + length + b"\r\n", method="HEAD")

    assert reader.is_complete
    assert reader.keeps_connection is keeps_connection
    assert reader.answer.body == b""


@given(st.binary(max_size=300), st.sampled_from([b"", OK, CHUNKED, OK + b"Content-Length: 9\r\n\r\n"]))
def test_any_bytes_are_an_answer_or_are_refused(data, begin):
    reader = AnswerReader("POST", 100)
    try:
        reader.feed(begin + data)
        reader.feed_end()
    except BadAnswer:
        return
    assert 200 <= reader.answer.status <= 999
    assert len(reader.answer.body) <= 100
