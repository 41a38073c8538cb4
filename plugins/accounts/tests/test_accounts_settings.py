"""What is refused at the start, with the key that is wrong, what the operator is warned of, and the ping."""

import ssl

import pytest
import trustme

from gatepost.errors import ConfigError, Unavailable
from gatepost.model import Contact
from gatepost_accounts.testing import AccountService

BASE = "https://accounts.example"
PAGE = {"url": f"{BASE}/users?ids={{ext_user_ids}}"}
OAUTH = {"token_url": f"{BASE}/token", "client_id": "gatepost", "client_secret": "the-secret"}


@pytest.fixture
def table():
    return {"url": f"{BASE}/users/{{ext_user_id}}", "id": "/id", "email": "/email"}


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"url": "accounts.example/{ext_user_id}"}, "url", "must be a URL"),
        ({"url": "ftp://accounts.example/{ext_user_id}"}, "url", "must be a URL"),
        ({"url": "https://user:word@accounts.example/{ext_user_id}"}, "url", "must be a URL"),
        ({"url": "https://{ext_user_id}.example/{ext_user_id}"}, "url", "placeholder in its host"),
        ({"url": "https://accounts.example:{ext_user_id}/"}, "url", "placeholder in its host"),
        ({"url": f"{BASE}/users"}, "url", "has no {ext_user_id}"),
        ({"url": f"{BASE}/users/{{user_id}}"}, "url", "{user_id}, which is no placeholder here"),
        ({"url": f"{BASE}/{{ext_user_ids}}"}, "url", "{ext_user_ids}, which is no placeholder here"),
        ({"url": f"{BASE}/{{ext_user_id}}/{{"}, "url", "percent-encode"),
        ({"url": f"{BASE}/{{ext_user_id}}#here"}, "url", "without a fragment"),
        ({"url": f"{BASE}/ü/{{ext_user_id}}"}, "url", "printable ASCII"),
        ({"url": f"{BASE}/%zz/{{ext_user_id}}"}, "url", "percent-encode"),
        ({"url": f"{BASE}/a/../{{ext_user_id}}"}, "url", "no . and no .."),
        ({"url": f"{BASE}/%2e%2e/{{ext_user_id}}"}, "url", "no . and no .."),
        ({"method": "PUT"}, "method", "must be one of"),
        ({"body": {"a": "b"}}, "body", "a GET has none"),
        ({"method": "POST", "body": {"a": ["x {ext_user_id}"]}}, "body.a[1]", "alone"),
        ({"method": "POST", "body": {"a": float("nan")}}, "body.a", "must be a text, a number"),
        ({"headers": {"Host": "x"}}, "headers.Host", "not a header that can be set"),
        ({"headers": {"X Y": "x"}}, "headers.X Y", "not a header that can be set"),
        ({"headers": {"X-Y": "x\r\nX-Z: y"}}, "headers.X-Y", "printable ASCII"),
        ({"headers": {"X-Y": ""}}, "headers.X-Y", "not empty"),
        ({"headers": {"X-Y": "1", "x-y": "2"}}, "headers.x-y", "twice"),
        ({"email": None}, "email", "nothing says where to find a contact"),
        ({"email": "contact.email"}, "email", "JSON pointer"),
        ({"phone": "/a~b"}, "phone", "JSON pointer"),
        ({"user": "data"}, "user", "JSON pointer"),
        ({"attributes": {"name": "name"}}, "attributes.name", "JSON pointer"),
        ({"optional": ["phone"]}, "optional", "has phone, which is not set itself"),
        ({"optional": ["name"]}, "optional", "must be one of"),
        ({"id": None, "optional": ["email"]}, "optional", "an error would be taken for a user"),
        (
            {"id": None, "phone": "/phone", "user": "/data", "optional": ["phone", "email"]},
            "optional",
            "an error would be taken for a user",
        ),
        ({"not_blocked": ["ACTIVE"]}, "not_blocked", "no effect without blocked"),
        ({"unknown": {"at": "/error"}}, "unknown.values", "is missing"),
        ({"unknown": {"statuses": [200]}}, "unknown.at", "is missing"),
        ({"unknown": {"statuses": [404, 503]}}, "unknown.statuses", "has 503, which never says"),
        ({"unknown": {"statuses": [401]}}, "unknown.statuses", "has 401, which never says"),
        ({"unknown": {"values": ["x"]}}, "unknown.at", "is missing"),
        ({"unknown": {"at": "error", "values": ["x"]}}, "unknown.at", "JSON pointer"),
        ({"page": {"url": f"{BASE}/users"}}, "page.url", "has no {ext_user_ids}"),
        ({"page": {"url": "https://other.example/?ids={ext_user_ids}"}}, "page.url", "the host of url"),
        ({"page": {**PAGE, "body": {}}}, "page.body", "a GET has none"),
        ({"page": {**PAGE, "users": "users"}}, "page.users", "JSON pointer"),
        ({"page": {**PAGE, "size": 101}}, "page.size", "a whole number <= 100"),
        ({"page": PAGE, "id": None}, "id", "nothing says who is who"),
        ({"oauth": {**OAUTH, "token_url": "x"}}, "oauth.token_url", "must be a URL"),
        ({"oauth": {**OAUTH, "client_id": ""}}, "oauth.client_id", "is empty"),
        ({"oauth": {**OAUTH, "client_secret": ""}}, "oauth.client_secret", "is empty"),
        ({"oauth": OAUTH, "headers": {"authorization": "x"}}, "oauth", "one such header"),
        ({"connection": {"certificate": "client.pem"}}, "connection.key", "is missing"),
        (
            {"url": "http://accounts.example/{ext_user_id}", "connection": {"ca": "ca.pem"}},
            "connection.ca",
            "url does not begin with https",
        ),
    ],
)
def test_what_can_not_be_used_is_a_fault_of_its_key(make_plugin, changes, key, words):
    with pytest.raises(ConfigError) as raised:
        make_plugin(**changes)
    ((found, problem),) = raised.value.faults
    assert found == key
    assert words in problem
    assert "the-secret" not in str(raised.value)


def test_all_faults_are_named_at_once(make_plugin):
    changes = {
        "url": "x",
        "email": "x",
        "optional": ["phone"],
        "headers": {"Host": "x"},
        "oauth": {**OAUTH, "client_id": ""},
    }
    with pytest.raises(ConfigError) as raised:
        make_plugin(**changes)
    keys = [fault.key for fault in raised.value.faults]
    assert sorted(keys) == ["email", "headers.Host", "oauth.client_id", "optional", "url"]


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, []),
        ({"id": None}, ["id"]),
        ({"url": "http://accounts.example/{ext_user_id}"}, ["url"]),
        ({"url": "http://127.0.0.1:8000/{ext_user_id}"}, []),
        ({"url": "http://[::1]:8000/{ext_user_id}"}, []),
        ({"oauth": {**OAUTH, "token_url": "http://login.example/token"}}, ["oauth.token_url"]),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(make_plugin, core, changes, warned):
    make_plugin(**changes)
    assert [key for key, _ in core.warnings] == warned


def test_a_single_table_needs_only_a_url_and_a_pointer(make_plugin):
    make_plugin(id=None)


class TestPing:
    @pytest.fixture
    def table(self, provider):
        return provider.table

    async def test_it_signs_in_and_asks_in_both_ways(self, running, provider):
        async with running() as plugin:
            await plugin.ping()
        assert [path for _, path in provider.requests] == ["/oauth/token", "/v1/players/0", "/v1/players"]

    async def test_the_user_of_the_settings_must_be_found(self, running, provider):
        async with running(ping_user="anna") as plugin:
            await plugin.ping()
        async with running(ping_user="nobody") as plugin:
            with pytest.raises(Unavailable, match="does not know ping_user") as raised:
                await plugin.ping()
        assert raised.value.misconfigured

    async def test_it_asks_although_an_answer_is_kept(self, running, provider):
        provider.cache_control = "max-age=60"
        async with running(ping_user="anna") as plugin:
            assert await plugin.find_contact("anna") is not None
            provider.players.clear()
            with pytest.raises(Unavailable, match="does not know"):
                await plugin.ping()

    async def test_a_page_without_its_user_is_a_fault(self, running, provider):
        page = {**provider.table["page"], "url": f"{provider.base_url}/v1/players?ids=x,{{ext_user_ids}}&y"}
        async with running(ping_user="anna", page=page) as plugin:
            with pytest.raises(Unavailable, match="the page does not have ping_user"):
                await plugin.ping()

    async def test_a_wrong_path_of_the_page_is_one_too(self, running, provider):
        page = {**provider.table["page"], "url": f"{provider.base_url}/v2?ids={{ext_user_ids}}"}
        async with running(page=page) as plugin:
            with pytest.raises(Unavailable, match="404"):
                await plugin.ping()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


class TestTls:
    @pytest.fixture
    async def provider(self, authority):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.configure_trust(tls)
        tls.verify_mode = ssl.CERT_REQUIRED
        async with AccountService(tls=tls) as service:
            service.load_contacts({"anna": Contact()})
            yield service

    @pytest.fixture
    def table(self, provider):
        return provider.table

    async def test_an_own_authority_and_a_client_certificate(self, running, authority, tmp_path):
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        client = authority.issue_cert("gatepost@brand.example")
        client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
        client.private_key_pem.write_to_path(tmp_path / "client.key")
        connection = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key"}
        async with running(connection=connection) as plugin:
            assert await plugin.find_contact("anna") == Contact(attributes={"vip_level": "3"})
        async with running(connection={"ca": "ca.pem"}) as plugin:
            with pytest.raises(Unavailable):
                await plugin.find_contact("anna")
        async with running() as plugin:
            with pytest.raises(Unavailable):
                await plugin.find_contact("anna")

    async def test_a_file_that_is_missing_refuses_the_start(self, make_plugin):
        with pytest.raises(ConfigError, match=r"connection.ca: can't be read"):
            async with make_plugin(connection={"ca": "ca.pem"}).lifespan():
                pass
