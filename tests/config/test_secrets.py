"""No repr, encoding, error or log record shows a secret; only ``Secret.reveal`` does."""

import copy
import functools
import io
import json
import logging
import pickle
import sqlite3
import tomllib
from collections import deque
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError

from canary import searcher
from gatepost import app
from gatepost.config import settings as configuration
from gatepost.errors import ConfigError, Fault
from gatepost.model import Contact, Email, Mailbox, Receipt, Secret, Sms, WebhookRequest
from gatepost.observe import logs, redaction
from gatepost.outbox import postgresql, sqlite
from gatepost.plugin_host import discovery
from gatepost_sendgrid.testing import SendGridEmulator
from gatepost_vonage.testing import VonageEmulator

SECRETS = {
    "client": "tulgey-wood-7c51",
    "rotated client": "manxome-foe-9d02",
    "callback": "vorpal-blade-0b0b",
    "preview": "bandersnatch@frumious.example",
    "database": "uffish-thought-6d6d",
    "sendgrid": "SG.tumtum-tree-41ae",
    "relay": "galumphing-back-88b0",
    "relay's webhook": "gimble-wabe-2c2c",
    "sandbox": "callooh-callay-03c3",
    "vonage": "slithy-toves-5d5d-5d5d-5d5d",
}


@pytest.fixture(scope="module", autouse=True)
def plugins_looked_up_once():
    """Cache the lookup of plugins: reading the metadata of all distributions is most of the work of a start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "load", functools.cache(discovery.load))
        patch.setattr(discovery, "installed", functools.cache(discovery.installed))
        yield


@pytest.fixture(scope="module", autouse=True)
def own_private_values():
    """Keep what other tests of this process have made private out of these, and what these make private out of others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_recent_scopes", deque(maxlen=redaction.MAX_RECENT))
        patch.setattr(redaction, "_active_scopes", {})
        patch.setattr(redaction, "_settings_secrets", [])
        yield


@pytest.fixture(scope="module")
def config():
    """Return a configuration with every plugin and every kind of secret."""
    return {
        "server": {"port": 0, "public_url": "https://gate.example"},
        "store": {"url": f"postgresql://gatepost:{SECRETS['database']}@127.0.0.1:1/gatepost"},
        "clients": {
            "brand": {
                "authorization": [SECRETS["client"], SECRETS["rotated client"]],
                "allow_ips": ["127.0.0.1"],
                "callback_api_key": SECRETS["callback"],
                "preview_recipients": [SECRETS["preview"]],
            }
        },
        "contacts": {"sources": ["players"]},
        "routes": {"email": ["sendgrid", "relay", "box"], "sms": ["vonage"]},
        "plugins": {
            "players": {"use": "csv", "path": "contacts.csv"},
            "sendgrid": {
                "use": "sendgrid",
                "api_key": SECRETS["sendgrid"],
                "webhook_public_key": SendGridEmulator().public_key,
            },
            "relay": {
                "use": "smtp",
                "host": "relay.example",
                "username": "gatepost",
                "password": SECRETS["relay"],
                "webhook_secret": SECRETS["relay's webhook"],
                "bounce_domain": "bounces.example",
            },
            "box": {"use": "sandbox", "folder": "box", "webhook_secret": SECRETS["sandbox"]},
            "vonage": {
                "use": "vonage",
                "application_id": "78d335fa-323d-0114-9c3d-d6f0d48968cf",
                "private_key": VonageEmulator().private_key,
                "signature_secret": SECRETS["vonage"],
            },
        },
    }


@pytest.fixture
def read_config(tmp_path_factory):
    """Return a function that reads a configuration as the commands do.

    It returns the settings and plugins, and the text of every fault.
    """
    folder = tmp_path_factory.mktemp("config")

    def load(tables):
        path = folder / "gatepost.toml"
        path.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in tables.items()), "utf-8")
        try:
            return app.load(path), ""
        except ConfigError as error:
            return None, f"{error} {error!r} {error.args} {error.faults}"

    yield load
    redaction.redact_settings(None)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value) if isinstance(value, bool | int | str) else repr(value)


def everything(value, seen=None):
    """Yield a value and everything that it consists of, private attributes included."""
    seen = {} if seen is None else seen
    if id(value) in seen or isinstance(value, str | bytes | int | float | type | None):
        return
    seen[id(value)] = value
    yield value
    parts = []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    elif type(value).__module__.startswith("gatepost") and not isinstance(value, Secret):
        parts = [*getattr(value, "__dict__", {}).values()]
        if isinstance(value, msgspec.Struct):
            parts += msgspec.structs.astuple(value)
    for part in parts:
        yield from everything(part, seen)


def representations(value):
    """Yield every text in which a value shows when it is formatted, encoded or logged."""
    yield from (
        repr(value),
        str(value),
        f"{value}",
        f"{value!r:>90}",
        f"{value} {value!r}",
        ascii(value),
    )
    for encode in (
        msgspec.json.encode,
        msgspec.msgpack.encode,
        pickle.dumps,
        msgspec.to_builtins,
        copy.deepcopy,
    ):
        try:
            yield repr(encode(value))
        except (TypeError, NotImplementedError, AttributeError, pickle.PicklingError, RuntimeError) as error:
            yield repr(error)
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s %r", (value, value), None)
    yield record.getMessage()


def test_a_log_record_that_cannot_be_written_is_not_printed(monkeypatch):
    """The standard library would print the arguments of such a record."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    record = logging.LogRecord("vendor", logging.ERROR, "", 0, "%s and %s", (SECRETS["client"],), None)
    logs.stderr_handler("json").handle(record)
    assert "could not be written" in written.getvalue()
    assert searcher.found(written.getvalue().encode(), SECRETS) == []


def test_no_setting_shows_a_secret(config, read_config):
    loaded, faults = read_config(config)
    assert loaded, faults
    hits = []
    for one in everything(loaded):
        for text in representations(one):
            hits += [(type(one).__name__, hit) for hit in searcher.found(text.encode(), SECRETS)]
    assert hits == []
    assert len(list(everything(loaded))) > 40


def test_no_value_that_plugins_get_shows_a_recipient():
    values = {"recipient": "jabberwock@snicker-snack.example", "number": "+447700900461", "name": "Quasimont"}
    email, phone = Secret(values["recipient"]), Secret(values["number"])
    names = {"name": values["name"]}
    common = {"id": "0" * 36, "lifetime": 1.0, "attributes": names}
    values_of_plugins = [
        Contact(email=email, phone=phone, attributes=names),
        Email(recipient=email, sender=Mailbox("a@b.example"), subject="", html="", text="", **common),
        Sms(recipient=phone, sender=None, text="", **common),
        WebhookRequest(
            method="POST",
            url=f"https://gate.example/?{urlencode(values)}",
            headers=values,
            body=b"Quasimont",
            received_at=0.0,
        ),
        [email, {"to": phone}, Receipt("x")],
    ]
    for one in values_of_plugins:
        assert searcher.found(f"{one} {one!r} {[one]}".encode(), values) == []


def test_secrets_are_removed_from_every_log_record(config, read_config, monkeypatch):
    read_config(config)
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    handler = logs.stderr_handler("json")
    for name, secret in SECRETS.items():
        for text in (
            secret,
            secret.upper(),
            f"Bearer {secret}!",
            " ".join(secret),
            secret.encode().hex(),
            secret[::-1],
        ):
            for level, arguments in ((logging.ERROR, ()), (logging.DEBUG, (text, {text: text}))):
                handler.handle(
                    logging.LogRecord(
                        "vendor", level, "", 0, f"{name} %s %s" if arguments else text, arguments, None
                    )
                )
    assert written.getvalue().count("\n") == 12 * len(SECRETS)
    assert searcher.found(written.getvalue().encode(), SECRETS) == []
    assert redaction.redact_values("the password uffish-thought-6d6d of gatepost@127.0.0.1") == (
        "the password [redacted] of gatepost@127.0.0.1"
    )


def test_no_fault_quotes_a_value_of_the_wrong_type(config, read_config):
    """The secret stands in every key at once, where a number, a list, a choice or a path belongs."""
    tables = copy.deepcopy(config)
    structs = {
        name: (tables.setdefault(name, {}), struct_type)
        for name, struct_type in configuration.SECTIONS.items()
    }
    structs["brand"] = tables["clients"]["brand"], configuration.Client
    for name, table in tables["plugins"].items():
        structs[name] = table, discovery.settings_type(table["use"])
        table.update(dict.fromkeys(("concurrency", "per_second", "timeout"), SECRETS["client"]))
    for table, struct_type in structs.values():
        table.update({field.encode_name: SECRETS["client"] for field in msgspec.structs.fields(struct_type)})
    _, faults = read_config(tables)
    assert faults.count("expected a number") > 10
    assert searcher.found(faults.encode(), SECRETS) == []


VALUES = st.one_of(
    st.sampled_from(sorted(SECRETS.values())),
    st.integers(-(10**6), 10**6),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.sampled_from(sorted(SECRETS.values())), max_size=2),
    st.dictionaries(
        st.sampled_from(["a", "use", "api_key"]), st.sampled_from(sorted(SECRETS.values())), max_size=2
    ),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_fault_quotes_a_secret_after_random_changes_of_the_file(config, read_config, data):
    tables = copy.deepcopy(config)
    for _ in range(data.draw(st.integers(1, 4))):
        place, path = tables, []
        while isinstance(place, dict) and place and (not path or data.draw(st.booleans())):
            key = data.draw(st.sampled_from(sorted(place)))
            path.append((place, key))
            place = place[key]
        place, key = path[-1]
        match data.draw(st.sampled_from(["change", "remove", "add"])):
            case "change":
                place[key] = data.draw(VALUES)
            case "remove":
                del place[key]
            case _:
                place[data.draw(st.sampled_from(["timeout", "api_key", "folder", "unknown"]))] = data.draw(
                    VALUES
                )
    _, faults = read_config(tables)

    named = set(_instances_named(tables))
    secrets = {name: secret for name, secret in SECRETS.items() if secret not in named}
    assert searcher.found(faults.encode(), secrets) == []


def _instances_named(tables):
    """Yield the texts in lists of instances: a fault may quote them when there is no such instance."""
    client = tables.get("clients")
    client = client.get("brand") if isinstance(client, dict) else None
    for table, keys in (
        (tables.get("routes"), ("email", "sms")),
        (tables.get("contacts"), ("sources",)),
        (client, ("contacts",)),
    ):
        for key in keys if isinstance(table, dict) else ():
            names = table.get(key)
            yield from names if isinstance(names, list) else ()


@pytest.mark.parametrize("where", ["env:GATE_{}", "file:{}"])
def test_no_fault_quotes_a_secret_from_the_environment_or_a_file(
    config, read_config, where, tmp_path, monkeypatch
):
    tables = copy.deepcopy(config)
    for name, owner, key in (
        ("sendgrid", tables["plugins"]["sendgrid"], "api_key"),
        ("relay", tables["plugins"]["relay"], "port"),
        ("sandbox", tables["plugins"]["box"], "report_after"),
        (
            "database",
            tables["delivery"] if "delivery" in tables else tables.setdefault("delivery", {}),
            "uncertain",
        ),
    ):
        monkeypatch.setenv(f"GATE_{name}", SECRETS[name])
        (tmp_path / name).write_text(SECRETS[name] + "\n")
        owner[key] = where.format(name if where.startswith("env") else tmp_path / name)
    loaded, faults = read_config(tables)
    assert loaded is None
    for key in ("plugins.relay.port", "plugins.box.report_after", "delivery.uncertain"):
        assert key in faults
    assert searcher.found(faults.encode(), SECRETS) == []


@pytest.mark.parametrize("where", ["env:GATE_{}", "file:{}"])
def test_secrets_are_read_from_the_environment_and_from_files(
    config, read_config, where, tmp_path, monkeypatch
):
    tables = copy.deepcopy(config)
    places = {
        "client": (tables["clients"]["brand"], "authorization"),
        "callback": (tables["clients"]["brand"], "callback_api_key"),
        "sendgrid": (tables["plugins"]["sendgrid"], "api_key"),
    }
    for name, (table, key) in places.items():
        monkeypatch.setenv(f"GATE_{name}", SECRETS[name])
        (tmp_path / name).write_text(SECRETS[name] + "\n")
        named = where.format(name if where.startswith("env") else tmp_path / name)
        table[key] = [named] if key == "authorization" else named
    (settings, _), _ = read_config(tables)
    brand = settings.clients["brand"]
    found = [*brand.authorization, brand.callback_api_key, settings.plugins["sendgrid"].settings.api_key]
    assert [one.reveal() for one in found] == [SECRETS[name] for name in places]


def test_a_toml_error_beside_a_secret_does_not_quote_it(tmp_path):
    (tmp_path / "gatepost.toml").write_text(f'[clients.brand]\nauthorization = ["{SECRETS["client"]}"\nx = ')
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads((tmp_path / "gatepost.toml").read_text())
    with pytest.raises(ConfigError) as raised:
        app.load(tmp_path / "gatepost.toml")
    assert "is not TOML" in str(raised.value)
    assert searcher.found(str(raised.value).encode(), SECRETS) == []


async def test_a_fault_of_a_database_does_not_quote_its_password(config, read_config, postgres_server):
    loaded, _ = read_config(config)
    settings, _ = loaded
    served = postgres_server.new_database()
    urls = [
        settings.store.url.reveal(),
        f"postgresql://nobody:{SECRETS['database']}@/nothing?host={served.rpartition('host=')[2]}",
        f"postgresql://gatepost:{SECRETS['database']}@127.0.0.1:port/x",
        f"postgresql://gatepost:{SECRETS['database']}@127.0.0.1:1/x?sslmode={SECRETS['database']}",
        f"postgres+what://gatepost:{SECRETS['database']}@x",
        f"mysql://gatepost:{SECRETS['database']}@127.0.0.1/x",
        SECRETS["database"],
    ]
    for url in urls:
        changed = msgspec.structs.replace(
            settings, store=msgspec.structs.replace(settings.store, url=Secret(url))
        )
        with pytest.raises(ConfigError) as raised:
            async with app.open_gateway(changed, {}):
                pass
        assert "store.url" in str(raised.value)
        text = f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
        assert searcher.found(text.encode(), SECRETS) == [], url


FAILING = sql("SELECT nothing_like_it(:content)")


@pytest.mark.parametrize("create_engine", [sqlite._engine, sqlite.read_only_engine])
def test_an_error_of_sqlite_shows_no_content(tmp_path, create_engine):
    path = tmp_path / "gatepost.db"
    sqlite3.connect(path).close()
    engine = create_engine(path)
    with engine.connect() as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(FAILING, {"content": SECRETS["client"]})
    engine.dispose()
    assert "nothing_like_it" in str(raised.value)
    assert SECRETS["client"] not in f"{raised.value} {raised.value!r}"


async def test_an_error_of_postgresql_shows_no_content(postgres_server):
    database = postgresql.PostgresDatabase(Secret(postgres_server.new_database()))
    with pytest.raises(DBAPIError) as raised:
        await database.transact(
            lambda connection: connection.execute(FAILING, {"content": SECRETS["client"]})
        )
    await database.close()
    assert "nothing_like_it" in str(raised.value)
    assert SECRETS["client"] not in f"{raised.value} {raised.value!r}"


def test_secrets_are_removed_from_the_fault_of_a_constructor(config, read_config, monkeypatch):
    class QuotesItsKey:
        api_version = 2

        class settings_type(msgspec.Struct, frozen=True, forbid_unknown_fields=True):  # noqa: N801
            key: Secret

        def __init__(self, settings, context):
            raise ConfigError([Fault("key", f"{settings.key.reveal()} is not a key")])

    load = discovery.load
    monkeypatch.setattr(discovery, "load", lambda use: QuotesItsKey if use == "quoting" else load(use))
    tables = copy.deepcopy(config)
    tables["plugins"]["quoting"] = {"use": "quoting", "key": "outgrabe-mome-rath"}
    _, faults = read_config(tables)
    assert "plugins.quoting.key: [redacted] is not a key" in faults
    assert "outgrabe" not in faults
