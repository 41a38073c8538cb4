"""Callback URLs: which of them the policy permits, and how the client calls them."""

import asyncio
import ipaddress
import re
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gatepost.callback_urls import CallbackUrl, CallbackUrlPolicy, CallbackUrlRefused, is_public
from gatepost.callbacks.client import CallbackClient, CallbackFailed
from gatepost.errors import ConfigError
from gatepost.testing.serving import stop

LISTED = ("cb.example", "*.smartico.ai", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
LITERAL_V6 = "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]"

GOOD = [
    "https://cb.example",
    "https://cb.example/",
    "https://CB.Example/path",
    "HTTPS://cb.example/path",
    "https://cb.example?x=1",
    "https://cb.example:1/x",
    "https://cb.example:8443/x",
    "https://cb.example:65535/x",
    "https://cb.example:0443/x",
    "https://a.smartico.ai/x",
    "https://a.b.c.smartico.ai/x",
    "https://xn--bcher-kva.smartico.ai/x",
    "https://under_score.smartico.ai/x",
    "https://a-b.smartico.ai/x",
    "https://1.smartico.ai/x",
    "https://127.0.0.1.smartico.ai/x",
    "https://93.184.215.14/x",
    "https://93.184.215.14:8443/x",
    f"https://{LITERAL_V6}/x",
    f"https://{LITERAL_V6.upper()}:444/x",
    "https://[::ffff:93.184.215.14]/x",
    "https://cb.example/a/../b",
    "https://cb.example//a//b",
    "https://cb.example/a;b=c,d:e@f",
    "https://cb.example/a%2Fb%20c",
    "https://cb.example/%0d%0aHost:x",
    "https://cb.example/x?",
    "https://cb.example/x?a=1&b=2&&c",
    "https://cb.example/x?a[]=1&b=/?@:",
    "https://cb.example/x?u=https://other.example/y",
    "https://cb.example/x?a=%C3%A9",
    "https://cb.example/@evil.example",
    "https://cb.example/" + "a" * 2000,
]

# Spellings of local addresses that some resolvers or parsers understand.
LOCAL_HOSTS = [
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1"),
    *("017700000001", "0", "0.0.0.0", "00.0.0.0", "127.0.0.1.", "127.000.000.001", "127.0.0.0x1", "0x"),
    *("①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "127.0.0.1%00", "%31%32%37.0.0.1", "127.0.0.256"),
    *("1.2.3.4.5", "10.0.0.1", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1"),
    *("255.255.255.255", "198.18.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[fe80::1]"),
    *("[fe80::1%25eth0]", "[fe80::1%eth0]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]"),
    *("[2001::1]", "[2001:db8::1]", "[0:0:0:0:0:0:0:1]", "[127.0.0.1]", "[::1", "::1", "[::1]]", "[]"),
    *("localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "169.254.169.254."),
    *("metadata.google.internal", "localtest.me", "127.0.0.1.nip.io", "168.63.129.16", "[v1.fe]"),
]
# Hosts that only look like a listed host.
NEAR_HOSTS = [
    *("smartico.ai", "evilsmartico.ai", "smartico.ai.evil.example", "x.smartico.ai.", "ｘ.smartico.ai"),
    *(".smartico.ai", "..smartico.ai", "a..smartico.ai", "-a.smartico.ai", "a-.smartico.ai", "*.smartico.ai"),
    *("a" * 64 + ".smartico.ai", "a." * 125 + "smartico.ai", "%61.smartico.ai", "a%2esmartico.ai"),
    *("a。smartico.ai", "а.smartico.ai", "ß.smartico.ai", "x．smartico.ai", "x.smartico.ai\u200b"),
    *("sub.cb.example", "cb.example.", "cbxexample", "cb.example.com", "cb-example", "", "cb", "example"),
    *("93.184.215.15", "093.184.215.14", "93.184.55054", "0x5db8d70e", "1572394766", "93.184.215.14."),
    *("a b.smartico.ai", "a\tb.smartico.ai", "a\n.smartico.ai", "a\0.smartico.ai", "a!.smartico.ai"),
    *("a,b.smartico.ai", "a'.smartico.ai", "a;b.smartico.ai", "(a).smartico.ai", "a&b.smartico.ai"),
]
# URLs in which parsers disagree about the host.
CONFUSED = [
    *(
        "https://user@cb.example/",
        "https://user:pass@cb.example/",
        "https://@cb.example/",
        "https://:@cb.example/",
    ),
    *("https://cb.example@evil.example/", "https://evil.example@cb.example/", "https://a@b@cb.example/"),
    *("https://cb.example%40evil.example/", "https://evil.example\\@cb.example/", "https:\\\\cb.example/"),
    *("https://cb.example\\/x", "https://cb.example/\\x", "https:/cb.example/", "https:cb.example/"),
    *(
        "https:///cb.example/",
        "//cb.example/",
        "/x",
        "cb.example/x",
        "https://",
        "https",
        "",
        "://cb.example/",
    ),
    *(
        "https://cb.example:/x",
        "https://cb.example:0/x",
        "https://cb.example:65536/x",
        "https://cb.example:-1/",
    ),
    *(
        "https://cb.example:99999/x",
        "https://cb.example:443:443/",
        "https://cb.example:4a/",
        "https://cb.example:+1/",
    ),
    *("https://cb.example:４４３/", "https://cb.example: 443/", "https://cb.example:0x1bb/", "https://:443/"),
    *("https://cb.example:000443/", "https://cb.example#/", "https://cb.example/#x", "https://cb.example/x#"),
    *(
        "https://cb.example#@evil.example/",
        "https://evil.example#cb.example/",
        "https://evil.example?cb.example",
    ),
    *(
        "https://evil.example/https://cb.example/",
        "https://evil.example;cb.example/",
        "https://cb.example;x/",
    ),
    *("https://cb.example,evil.example/", "https://cb.example evil.example/", "https://[cb.example]/"),
    *("https://cb.example[/", "https://cb.example]/", "https://[::1]cb.example/", "https://cb.example[::1]/"),
    f"https://{LITERAL_V6}x/",
    f"https://{LITERAL_V6}:/",
    f"https://{LITERAL_V6[:-1]}%25eth0]/",
    "https://cb.example/" + "a" * 2030,
]
SCHEMES = [
    *(
        "http",
        "ftp",
        "file",
        "gopher",
        "dict",
        "ws",
        "wss",
        "httpss",
        "https+x",
        "javascript",
        "data",
        "ldap",
    ),
    *(
        "unix",
        "http+unix",
        "ıttps",
        "httpſ",
        " https",
        "https ",
        "\thttps",
        "\nhttps",
        "ht\ntps",
        "view-source:https",
    ),
]
# Bytes that end a request's line, or that parsers rewrite, at every possible position.
HOSTILE = [
    "\r\n",
    "\n",
    "\r",
    "\t",
    " ",
    "\0",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "é",
    '"',
    "<",
    "^",
    "`",
    "{",
    "|",
    "\\",
]
PLACES = [
    "{}https://cb.example/x",
    "https://cb.example{}/x",
    "https://cb.example/x{}",
    "https://cb.example/x?a={}&b",
]
BAD_ESCAPES = ["%", "%2", "%zz", "%u0041", "%%41", "%-1", "% 1", "%0"]

BAD = [
    *(f"https://{host}/x" for host in LOCAL_HOSTS),
    *(f"https://{host}:8443/x?a=b" for host in LOCAL_HOSTS),
    *(f"https://{host}/x" for host in NEAR_HOSTS),
    *CONFUSED,
    *(f"{scheme}://cb.example/x" for scheme in SCHEMES),
    *(place.format(text) for place in PLACES for text in HOSTILE),
    *(f"https://cb.example/{text}" for text in BAD_ESCAPES),
    *(f"https://cb.example/?{text}" for text in BAD_ESCAPES),
]
# Lists all local hosts, so that they can be refused only because they are local.
ALL_HOSTS = [
    host
    for host in (*LOCAL_HOSTS, "*.example", "*.me", "*.io", "*.internal")
    if not CallbackUrlPolicy.faults([host])
]


def test_there_are_at_least_300_urls():
    assert len(set(GOOD + BAD)) >= 300


@pytest.mark.parametrize("url", GOOD)
def test_a_listed_url_is_permitted_unchanged(url):
    target = CallbackUrlPolicy(LISTED, allow_private=False).check(url)
    rest = url.split("://", 1)[1]
    path_and_query = rest[len(rest.split("/")[0].split("?")[0]) :]
    path, _, query = path_and_query.partition("?")
    assert (target.path, target.query) == (path or "/", query)
    assert target.host == target.host.lower()


@pytest.mark.parametrize("url", BAD)
def test_a_tricky_url_is_refused(url):
    with pytest.raises(CallbackUrlRefused):
        CallbackUrlPolicy(LISTED, allow_private=False).check(url)


@pytest.mark.parametrize(
    "host", [host for host in LOCAL_HOSTS if not re.search("[g-wyz]{2}", host, re.IGNORECASE)]
)
def test_a_local_address_is_refused_even_when_listed(host):
    with pytest.raises(CallbackUrlRefused):
        CallbackUrlPolicy(ALL_HOSTS, allow_private=False).check(f"https://{host}/x")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "https://[::1]/x", "http://localhost/x"])
def test_private_hosts_may_be_permitted(url):
    hosts = ("127.0.0.1", "[::1]", "localhost")
    assert CallbackUrlPolicy(hosts, allow_private=True).check(url).private
    with pytest.raises(CallbackUrlRefused):
        CallbackUrlPolicy(LISTED, allow_private=True).check(url)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "①②⑦.⓪.⓪.①", "127.0.0.1.", "u@127.0.0.1"])
def test_tricky_urls_of_private_hosts_are_refused(host):
    with pytest.raises(CallbackUrlRefused):
        CallbackUrlPolicy(("127.0.0.1",), allow_private=True).check(f"http://{host}/x")


def test_refusals_contain_nothing_of_the_url_but_its_host():
    for url in BAD:
        with pytest.raises(CallbackUrlRefused) as refused:
            CallbackUrlPolicy(LISTED, allow_private=False).check(
                url + ("" if "#" in url else "?api_key=sesame")
            )
        assert "sesame" not in str(refused.value)
        assert "pass" not in str(refused.value).replace("a password", "")


@given(st.text())
def test_any_text_is_refused_or_has_a_listed_host(text):
    for url in (text, "https://" + text, "https://cb.example" + text):
        try:
            target = CallbackUrlPolicy(LISTED, allow_private=False).check(url)
        except CallbackUrlRefused:
            continue
        assert target.host == "cb.example" or target.host.endswith(".smartico.ai")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.",
        "https://cb.example",
        "cb.example:443",
        "cb.example/x",
        "bücher.example",
        "a.*.example",
        "127.1",
        "10.0.0.0/8",
        "*.10.0.0.1",
        "cb.example.",
        "fe80::1%eth0",
        "user@cb.example",
        " cb.example",
    ],
)
def test_an_unusable_entry_is_a_fault_of_the_config(entry):
    with pytest.raises(ConfigError, match="callback_hosts: entry 2 "):
        CallbackUrlPolicy(("cb.example", entry), allow_private=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cb.example", "/?type=a+b&x=ü"),
        ("https://cb.example/p?", "/p?type=a+b&x=ü"),
        ("https://cb.example/p?a=1&&b=%7e", "/p?a=1&&b=%7e&type=a+b&x=ü"),
        ("https://cb.example/p?type=1&a=2&type=3", "/p?a=2&type=a+b&x=ü"),
        ("https://cb.example/p?t%79pe=1&type&TYPE=2", "/p?TYPE=2&type=a+b&x=ü"),
        ("https://cb.example/a/../%2e/%zz".replace("%zz", "%2F"), "/a/../%2e/%2F?type=a+b&x=ü"),
        ("https://cb.example//a?u=https://h/?q&s=+%20[]", "//a?u=https://h/?q&s=+%20[]&type=a+b&x=ü"),
    ],
)
def test_parameters_are_added_and_the_rest_is_unchanged(url, expected):
    sent = CallbackUrlPolicy(LISTED, allow_private=False).check(url).target_with({"type": "a b", "x": "ü"})
    assert sent == expected.replace("a+b", "a%20b").replace("ü", "%C3%BC")


NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1"),
    *("192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1"),
    *("::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("::ffff:0:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::"),
    *("2002:a00:1::1", "2002:c0a8:101::", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1"),
    *("2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "100::1", "fc00::1", "fd00:ec2::254"),
    *("fe80::1", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "5f00::1", "4000::1"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.15.255.255"),
    *("172.32.0.1", "192.167.255.255", "198.17.255.255", "198.20.0.1", "223.255.255.255"),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "::ffff:8.8.8.8"),
    *("64:ff9b::808:808", "2002:808:808::1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are_public(address):
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_address_is_judged_as_itself(address):
    verdict = is_public(address)
    number = int(address)
    nat64 = int(ipaddress.IPv6Address("64:ff9b::"))
    assert is_public(ipaddress.IPv6Address((0xFFFF << 32) | number)) is verdict
    assert is_public(ipaddress.IPv6Address((0x2002 << 112) | (number << 80))) is verdict
    assert is_public(ipaddress.IPv6Address(nat64 | number)) is verdict
    assert not is_public(ipaddress.IPv6Address(number))
    assert verdict <= address.is_global


class ListResolver:
    """A resolver with a list of answers, one for each query; the last answer is repeated."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.queries = []

    async def __call__(self, host):
        self.queries.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Host:
    """A callback host that notes its requests and gives the answer that a test sets."""

    def __init__(self, port):
        self.port = port
        self.requests = []
        self.connections = 0
        self.names = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                if self.answer is None:
                    break
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


@pytest.fixture(scope="module")
def certificate_authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting_context(certificate_authority):
    context = ssl.create_default_context()
    certificate_authority.configure_trust(context)
    return context


@asynccontextmanager
async def listening(tls=None):
    host = Host(0)
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0, ssl=tls)
    host.port = server.sockets[0].getsockname()[1]
    async with server:
        yield host
        await stop(server)


@pytest.fixture
async def tls_host(certificate_authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate_authority.issue_cert("cb.example").configure_cert(context)
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with listening(context) as host:
        host.names = names
        yield host


@pytest.fixture
async def plain_host():
    async with listening() as host:
        yield host


def private_url(url, hosts=("cb.example", "127.0.0.1")):
    return CallbackUrlPolicy(hosts, allow_private=True).check(url)


def public_url(url, hosts=("cb.example", "127.0.0.1")):
    return CallbackUrlPolicy(hosts, allow_private=False).check(url)


async def failure(client, target, query=None):
    with pytest.raises(CallbackFailed) as failed:
        await client.get(target, query or {})
    return failed.value


async def test_a_call_goes_to_the_resolved_address_with_the_right_name(tls_host, trusting_context):
    async with CallbackClient(resolve=ListResolver(["127.0.0.1"]), tls=trusting_context) as client:
        target = private_url(f"https://cb.example:{tls_host.port}/a/../%7e?x=[1]&status=old")
        answer = await client.get(target, {"status": "delivered", "api_key": "s&k"})
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.headers["content-length"] == "2"
    lines = tls_host.requests[0].split("\r\n")
    assert lines[0] == "GET /a/../%7e?x=[1]&status=delivered&api_key=s%26k HTTP/1.1"
    assert f"Host: cb.example:{tls_host.port}" in lines
    assert not any(line.lower().startswith("cookie") for line in lines)
    assert tls_host.names == ["cb.example"]


async def test_a_wrong_certificate_ends_the_call(tls_host, trusting_context):
    async with CallbackClient(resolve=ListResolver(["127.0.0.1"]), tls=trusting_context) as client:
        other = private_url(f"https://other.example:{tls_host.port}/", ("other.example",))
        assert (await failure(client, other)).kind == "tls"
    async with CallbackClient(resolve=ListResolver(["127.0.0.1"])) as client:
        untrusted = private_url(f"https://cb.example:{tls_host.port}/")
        assert (await failure(client, untrusted)).kind == "tls"
    assert tls_host.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
        ["127.0.0.1", "93.184.215.14"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%eth0"],
        ["nonsense"],
        ["0.0.0.0"],
        ["2130706433"],
    ],
)
async def test_a_name_with_any_local_address_is_not_called(tls_host, trusting_context, answer):
    async with CallbackClient(resolve=ListResolver(answer), tls=trusting_context) as client:
        assert (await failure(client, public_url(f"https://cb.example:{tls_host.port}/"))).kind == "private"
    assert tls_host.connections == 0


async def test_a_resolver_that_changes_its_answer_reaches_no_local_host(
    tls_host, trusting_context, monkeypatch
):
    """A public address first, a local one a moment later: the second answer must be checked like the first."""
    connected = []

    async def refuse_connection(addr_infos, **_rest):
        connected.extend(info[4][0] for info in addr_infos)
        raise ConnectionRefusedError

    names = ListResolver(["93.184.215.14"], ["127.0.0.1"])
    monkeypatch.setattr("aiohappyeyeballs.start_connection", refuse_connection)
    target = public_url(f"https://cb.example:{tls_host.port}/")
    async with CallbackClient(resolve=names, tls=trusting_context) as client:
        assert (await failure(client, target)).kind == "connect"
    assert names.queries == ["cb.example"]
    assert connected == ["93.184.215.14"]
    monkeypatch.undo()
    async with CallbackClient(resolve=names, tls=trusting_context) as client:
        assert (await failure(client, target)).kind == "private"
    assert tls_host.connections == 0


async def test_the_private_connection_of_one_client_is_not_used_for_another(tls_host, trusting_context):
    url = f"https://cb.example:{tls_host.port}/"
    async with CallbackClient(resolve=ListResolver(["127.0.0.1"]), tls=trusting_context) as client:
        assert (await client.get(private_url(url), {})).status == 200
        assert (await failure(client, public_url(url))).kind == "private"
        assert (await client.get(private_url(url), {})).status == 200
    assert (len(tls_host.requests), tls_host.connections) == (2, 1)


async def test_a_literal_address_is_checked_again_when_it_is_called(plain_host):
    target = CallbackUrl(
        scheme="http", host="127.0.0.1", port=plain_host.port, path="/", query="", private=False
    )
    async with CallbackClient() as client:
        with pytest.raises(CallbackUrlRefused):
            await client.get(target, {})
    assert plain_host.connections == 0


async def test_redirects_are_not_followed(plain_host):
    plain_host.answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    )
    target = private_url(f"http://127.0.0.1:{plain_host.port}/x")
    async with CallbackClient() as client:
        assert (await client.get(target, {"a": "1"})).status == 302
        assert (await client.get(target, {"a": "2"})).status == 302
    assert [request.split()[1] for request in plain_host.requests] == ["/x?a=1", "/x?a=2"]
    assert "cookie" not in plain_host.requests[1].lower()


async def test_a_long_answer_is_cut_off(plain_host):
    plain_host.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 200_000
    async with CallbackClient() as client:
        answer = await client.get(private_url(f"http://127.0.0.1:{plain_host.port}/x"), {})
    assert answer.body == b"x" * 65536


async def test_a_compressed_answer_is_not_decompressed(plain_host):
    plain_host.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    async with CallbackClient() as client:
        answer = await client.get(private_url(f"http://127.0.0.1:{plain_host.port}/x"), {})
    assert answer.body == b"\x1f\x8b\x08"
    assert "accept-encoding: identity" in plain_host.requests[0].lower()


async def test_proxy_variables_are_not_read(plain_host, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with CallbackClient() as client:
        assert (await client.get(private_url(f"http://127.0.0.1:{plain_host.port}/x"), {})).status == 200


@pytest.mark.parametrize(
    ("answer", "kind"), [(None, "lost"), (b"nonsense\r\n\r\n", "lost"), (b"HTTP/1.1 200 OK\r\n", "timeout")]
)
async def test_the_error_of_a_broken_answer_contains_no_secret(plain_host, answer, kind, set_ahead):
    plain_host.answer = answer
    async with CallbackClient() as client:
        target = private_url(f"http://127.0.0.1:{plain_host.port}/x?token=sesame")
        calling = asyncio.create_task(failure(client, target, {"api_key": "sesame"}))
        while not (plain_host.requests or calling.done()):  # noqa: ASYNC110  no event exists
            await asyncio.sleep(0.001)
        if kind == "timeout":
            set_ahead(60)
        failed = await calling
    assert failed.kind == kind
    assert "sesame" not in str(failed) + repr(failed) + repr(target)
    assert failed.__suppress_context__


async def test_hosts_that_can_not_be_reached():
    async with CallbackClient(resolve=ListResolver(OSError("no such name"))) as client:
        assert (await failure(client, public_url("https://cb.example/"))).kind == "resolve"
    async with CallbackClient(resolve=ListResolver([])) as client:
        assert (await failure(client, public_url("https://cb.example/"))).kind == "resolve"
    async with listening() as stopped:
        port = stopped.port
    async with CallbackClient() as client:
        assert (await failure(client, private_url(f"http://127.0.0.1:{port}/"))).kind == "connect"
