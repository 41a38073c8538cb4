"""Malformed requests drawn from a seed; the same seed gives the same requests."""

import json
import random
from typing import NamedTuple

from fuzz.oracle import Expected

GOOD = {
    "/email": {
        "ext_user_id": "nobody",
        "from_email_address": "Brand <noreply@brand.example>",
        "reply_to_email_address": "help@brand.example",
        "subject": "Hello",
        "body": "<p>Hello</p>",
        "text_body": "Hello",
        "email_uid": "uid",
        "callback_url": "https://crm.example/cb?x=1",
    },
    "/sms": {
        "ext_user_id": "nobody",
        "from_number": "Brand",
        "body": "Hello",
        "im_uid": "uid",
        "callback_url": "https://crm.example/cb",
    },
}
PATHS = ("{}", "{}?x=%ff", "{}?", "{}?a=b&a=c", "http://elsewhere.example{}", "https://x:1{}?q", "{}#f")

# Text in the place of a JSON value; much of it is not valid JSON.
VALUES = [
    *('""', "null", "true", "0", "-1", "1e999", "-1e-999", "1" * 400, "0x1", "01", "NaN", "Infinity", "[]"),
    *("{}", '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"a\\u0000b"', '"\\', '"\\u12', '"\\x41"', "'x'"),
    *('"\\u202e"', '"\ufeff"', '"=?utf-8?b?DQpCY2M6IGV2ZUBldmlsLmV4YW1wbGU=?="', '"a\\r\\nBcc: x@y.example"'),
    *("[" * 2000, "[" * 900 + "]" * 900, '{"a":' * 500 + "1" + "}" * 500, '"' + "x" * 3000 + '"'),
    *('"a@b"', '"<>"', '"@"', '"Brand <noreply@brand.example>, <eve@evil.example>"', '"\\"<a@b.example>"'),
    *('"https://127.0.0.1/"', '"https://crm.example@evil.example/"', '"https://[::1]/"', '"//crm.example"'),
    *('"https://crm.example:99999/"', '"https://crm.example/%0d%0a"', '"HTTPS://CRM.EXAMPLE/"', '"anna"'),
    *('"' + "ä" * 600 + '"', '"😀"', '"' + "\\ud83d\\ude00" * 200 + '"', '"brand.example"', "[[[]]]", "{{}}"),
]
NOISE = [
    *(b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\r\n", b"\\u"),
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\x1b[31m", b"%s%n", b"${x}", b"e+999", b"\t"),
]
HEADERS = [
    *(b"Content-Type: text/plain", b"Content-Type: application/json; charset=utf-7", b"Content-Type:"),
    *(
        b"Content-Type: multipart/form-data",
        b"Content-Type: application/json; charset=\xff",
        b"X-Y: \xff\xfe",
    ),
    *(
        b"Content-Encoding: gzip",
        b"Content-Encoding: br, gzip",
        b"Accept: text/html;q=\xe4",
        b"Cookie: \xff=1",
    ),
    *(b"Cookie: " + b"a=b;" * 500, b"Accept-Encoding: identity;q=0", b"Range: bytes=0-1", b"If-Match: *"),
    *(b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-For: \xff", b"Forwarded: for=127.0.0.1", b"Via: 1.1 x"),
    *(b"X-HTTP-Method-Override: GET", b"X-Original-URL: /metrics", b"X-Rewrite-URL: /x", b"Host: other"),
    *(
        b"Host: \xff",
        b"Host: a b",
        b"Host:",
        b"Host: x`y",
        b"Host: [::1]:80",
        b"Host: x@y/..",
        b"Origin: null",
    ),
    *(b"Expect: 100-continue", b"Expect: nonsense", b"Upgrade: websocket", b"Connection: upgrade"),
    *(b"Connection: keep-alive, upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", b"Connection: close"),
    *(b"Connection: keep-alive", b"Sec-WebSocket-Key: x", b"TE: trailers", b"Trailer: Authorization"),
    *(b"Authorization: the-secret", b"Authorization: wrong", b"Authorization: \xff\x80", b"Authorization:"),
    *(b"X-Long: " + b"x" * 8000, b"\r\n".join(b"X-%d: y" % i for i in range(60)), b"Content-Length-X: 5"),
]
# HEAD is left out: its answer has a Content-Length but no body, which take_answer cannot know.
METHODS = [b"GET", b"PUT", b"REPORT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"CONNECT", b"PURGE", b"PRI"]


class Framed(NamedTuple):
    """A request with valid HTTP framing, which must be answered."""

    data: bytes
    closes: bool
    """Whether the server closes the connection after the answer."""


class Requests:
    """An endless sequence of requests."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0

    def framed(self) -> Framed:
        """Return a POST to an endpoint of the contract that parses as HTTP; the rest may be wrong."""
        draw = self._random
        path = draw.choice(("/email", "/sms"))
        body = self._body(path)
        target = draw.choice(PATHS).format(path) if draw.random() < 0.2 else path
        secret = [b"Authorization: the-secret"] if draw.random() < 0.95 else []
        odd = draw.sample(HEADERS, k=draw.randint(1, 3)) if draw.random() < 0.4 else []
        # A request with two Host headers would not be valid HTTP.
        host = next((one for one in odd if one.startswith(b"Host:")), b"Host: gateway.example")
        headers = [host, *secret, *(one for one in odd if not one.startswith(b"Host:"))]
        version = b"1.0" if draw.random() < 0.01 else b"1.1"
        if version == b"1.1" and draw.random() < 0.1:
            headers.append(b"Transfer-Encoding: chunked")
            body = self._chunked(body)
        else:
            headers.append(b"Content-Length: %d" % len(body))
        draw.shuffle(headers)
        head = b"POST %s HTTP/%s\r\n%s\r\n\r\n" % (target.encode(), version, b"\r\n".join(headers))
        return Framed(head + body, closes=Expected(head + body).ends)

    def webhook(self) -> Framed:
        """Return a report for an instance that takes reports, for one that takes none, or for an unknown one."""
        name = self._random.choice((b"box", b"players", b"nobody", b"%2e%2e", b"box%2f", b"%ff"))
        body = self._mutated(b'[{"id": "a", "status": "delivered", "time": 1}]')
        head = b"POST /webhooks/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (name, len(body))
        return Framed(head + b"\r\n" + body, closes=False)

    def raw(self) -> bytes:
        """Return one to three valid requests after random changes of their bytes."""
        draw = self._random
        data = b"".join(self.framed().data for _ in range(draw.choice((1, 1, 1, 2, 3))))
        if draw.random() < 0.2:
            data = data.replace(b"POST", draw.choice(METHODS), 1)
        head, gap, body = data.partition(b"\r\n\r\n")
        if draw.random() < 0.7:
            return self._mutated(head, times=2) + gap + body
        return self._mutated(data, times=3)

    def _body(self, path: str) -> bytes:
        draw = self._random
        self._count += 1
        fields = {name: json.dumps(value) for name, value in GOOD[path].items()}
        fields["email_uid" if path == "/email" else "im_uid"] = f'"{self._count}"'
        if draw.random() < 0.02:
            fields["ext_user_id"] = '"anna"'
        for _ in range(draw.choice((0, 0, 1, 1, 2))):
            fields[draw.choice(list(fields))] = draw.choice(VALUES)
        pairs = [f'"{name}": {value}' for name, value in fields.items()]
        if draw.random() < 0.1:
            pairs.insert(draw.randrange(len(pairs)), draw.choice(pairs))
        if draw.random() < 0.1:
            pairs.append(f'"extra": {draw.choice(VALUES)}')
        body = ("{" + ", ".join(pairs) + "}").encode("utf-8", "surrogatepass")
        if draw.random() < 0.005:
            body += b" " * 70_000
        return self._mutated(body) if draw.random() < 0.5 else body

    def _mutated(self, data: bytes, times: int = 4) -> bytes:
        draw = self._random
        changed = bytearray(data)
        for _ in range(draw.randint(1, times)):
            start = draw.randrange(len(changed) + 1)
            end = min(len(changed), start + draw.choice((1, 2, 8, 64)))
            match draw.randrange(6):
                case 0 if start < len(changed):
                    changed[start] ^= 1 << draw.randrange(8)
                case 1:
                    del changed[start:end]
                case 2:
                    changed[start:start] = changed[start:end]
                case 3:
                    changed[start:start] = draw.choice(NOISE)
                case 4:
                    changed[start:end] = draw.randbytes(end - start)
                case _:
                    del changed[max(start, len(changed) // 2) :]
        return bytes(changed)

    def _chunked(self, body: bytes) -> bytes:
        draw = self._random
        parts, start = [], 0
        while start < len(body):
            end = start + draw.choice((1, 7, 100, 5000))
            chunk = body[start:end]
            extension = draw.choice((b"", b"", b"", b";a=b", b';a="b"'))
            parts.append(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk))
            start = end
        trailer = draw.choice((b"", b"", b"Authorization: wrong\r\n", b"X-T: y\r\n", b"Host: z\r\n"))
        return b"".join(parts) + b"0\r\n" + trailer + b"\r\n"
