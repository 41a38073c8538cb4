"""Routes as rules: what the file says is read, and everything that is wrong with it is named at once."""

from functools import cache

import pytest

from gatepost import app
from gatepost.config.routes import Route, Routes
from gatepost.model import Channel
from gatepost.observe import redaction
from gatepost.plugin_host import discovery

BASE = """\
[clients.amazing]
authorization = ["one"]
contacts = ["players"]
[clients.splendid]
authorization = ["two"]
contacts = ["members"]
[plugins.players]
use = "csv"
path = "players.csv"
[plugins.members]
use = "csv"
path = "members.csv"
[plugins.box]
use = "sandbox"
folder = "box"
[plugins.bag]
use = "sandbox"
folder = "bag"
[plugins.relay]
use = "smtp"
host = "relay.example"
"""


@pytest.fixture(autouse=True)
def quick_search_for_plugins(monkeypatch):
    """Search the installed distributions once: it takes longer than everything else here."""
    monkeypatch.setattr(discovery, "entry_points", entry_points)


entry_points = cache(discovery.entry_points)


@pytest.fixture
def read(tmp_path):
    """Return a function that reads the routes of a text that is added to BASE, and the faults."""
    file = tmp_path / "gatepost.toml"

    def read_routes(text):
        file.write_text(BASE + text)
        settings, _instances, faults = app.examine(file)
        return settings and settings.routes, [(key, problem) for key, problem in faults]

    yield read_routes
    redaction.redact_settings(None)


@pytest.fixture
def faults(read):
    return lambda text: read(text)[1]


def test_a_list_of_plugins_is_one_rule_named_as_its_channel(read):
    routes, faults = read('[routes]\nemail = ["box", "relay"]\nsms = []\n')

    assert faults == []
    assert routes == Routes(email=(Route(name="email", use=("box", "relay")),))
    assert routes.instances(Channel.EMAIL) == ("box", "relay")
    assert routes.of(Channel.SMS) == ()


def test_rules_are_read_in_their_order_with_every_key(read):
    routes, faults = read("""
[routes]
email = ["relay"]
[[routes.sms]]
name = "codes"
clients = ["amazing", "splendid"]
countries = ["GB", "IE"]
prefixes = ["+4477"]
senders = ["AmazingCode"]
urgent = true
use = ["box", "bag"]
per_day = 20000
next_after = 120
[[routes.sms]]
name = "no-us"
countries = ["US"]
refuse = "no texts to the US"
[[routes.sms]]
name = "Rest_1"
split = { box = 70, bag = 30.5 }
balance = "receipts"
""")

    assert faults == []
    codes, no_us, rest = routes.sms
    assert codes == Route(
        name="codes",
        clients=("amazing", "splendid"),
        countries=("GB", "IE"),
        prefixes=("+4477",),
        senders=("AmazingCode",),
        urgent=True,
        use=("box", "bag"),
        per_day=20_000,
        next_after=120.0,
    )
    assert no_us == Route(name="no-us", countries=("US",), refuse="no texts to the US")
    assert rest == Route(name="Rest_1", split={"box": 70.0, "bag": 30.5}, balance="receipts")
    assert routes.instances(Channel.SMS) == ("box", "bag")
    assert routes.instances(Channel.EMAIL) == ("relay",)


def test_the_two_forms_may_stand_beside_each_other_for_two_channels(read):
    routes, faults = read('[[routes.sms]]\nname = "all"\nuse = ["box"]\n[routes]\nemail = ["relay"]\n')

    assert faults == []
    assert (routes.sms[0].name, routes.email[0].name) == ("all", "email")


@pytest.mark.parametrize(
    "text",
    [
        '[routes]\nsms = ["box"]\n[[routes.sms]]\nname = "x"\nuse = ["bag"]\n',
        "[routes]\nsms = []\n[[routes.sms]]\n",
        '[[routes.sms]]\nname = "x"\n[routes]\nsms = ["box"]\n',
        '[routes]\nemail = ["relay"]\nsms = ["box"]\n\n[[ routes.sms ]]\n',
    ],
)
def test_the_two_forms_for_one_channel_are_one_fault_in_plain_words(faults, text):
    (fault,) = faults(text)

    assert "routes.sms is both a list and [[routes.sms]] rules: use one of the two" in fault[1]


def test_another_fault_of_toml_beside_rules_is_not_explained_with_the_two_forms(faults):
    text = '[[routes.sms]]\nname = "x"\nuse = ["box"]\n[plugins.accounts]\nsms = "/phone"\nsms = "/mobile"\n'

    (fault,) = faults(text)

    assert "both a list" not in fault[1]


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ('[routes.sms]\nname = "x"\nuse = ["box"]', "routes.sms", "under [[routes.sms]] with two brackets"),
        ('[routes]\nsms = ["box", { name = "x" }]', "routes.sms", "mixes plugins and rules"),
        ('[routes]\nsms = "box"', "routes.sms", "expected a list"),
        ("[routes]\nsms = [5]", "routes.sms", "expected a text"),
        ('[[routes]]\nsms = ["box"]', "routes", "must be a table: [routes]"),
        ('[[routes.push]]\nname = "x"', "routes.push", "is not a key here; there are: email, sms"),
    ],
)
def test_a_channel_that_has_neither_form_is_a_fault(faults, text, key, problem):
    ((found, words),) = faults(text)

    assert found == key
    assert problem in words


def rule(text, channel="sms", name="x"):
    return f'[[routes.{channel}]]\nname = "{name}"\n{text}\n'


USE = 'use = ["box"]'


@pytest.mark.parametrize(
    ("lines", "key", "problem"),
    [
        (f'{USE}\nclients = ["amazng"]', "clients", "amazng is not a [clients.NAME] table; is it amazing?"),
        (f"{USE}\nclients = []", "clients", "is empty"),
        (f"{USE}\nsenders = []", "senders", "is empty"),
        (f'{USE}\nsenders = [""]', "senders", "entry 1 is not a sender"),
        (f'{USE}\ncountries = ["GB", "UK"]', "countries", "entry 2 is not a country in two capital letters"),
        (f'{USE}\ncountries = ["gb"]', "countries", "entry 1 is not a country in two capital letters"),
        (f'{USE}\nprefixes = ["4477"]', "prefixes", "entry 1 is not + and 1 to 7 digits"),
        (f'{USE}\nprefixes = ["+44770090"]', "prefixes", "entry 1 is not + and 1 to 7 digits"),
        (f'{USE}\nprefixes = ["+"]', "prefixes", "entry 1 is not + and 1 to 7 digits"),
        (f'{USE}\nprefixes = ["+44 77"]', "prefixes", "entry 1 is not + and 1 to 7 digits"),
        (f'{USE}\nprefixes = ["+999"]', "prefixes", "entry 1 has no calling code"),
        (f'{USE}\ndomains = ["gmail.com"]', "domains", "a text message has none: see countries"),
        (f"{USE}\nper_day = -1", "per_day", "expected a whole number >= 0"),
        (f'{USE}\nper_day = "many"', "per_day", "expected a whole number"),
        (f"{USE}\nurgnt = true", "urgnt", "is not a key here; is it urgent?"),
        (f"{USE}\nnext_after = 60", "next_after", "is for use with several plugins"),
        ("split = { box = 1, bag = 1 }\nnext_after = 60", "next_after", "is for use with several plugins"),
        ('use = ["box", "bag"]\nnext_after = -1', "next_after", "expected a number >= 0"),
        (
            'use = ["box", "bag"]\nnext_after = 14400',
            "next_after",
            "must be shorter than delivery.sms_lifetime",
        ),
        (f'{USE}\nbalance = "receipts"', "balance", "needs split"),
        ('split = { box = 1, bag = 1 }\nbalance = "clicks"', "balance", "must be one of: receipts"),
        ("split = { box = 1 }", "split", "has a single plugin: write use instead"),
        ("split = { box = 1, bag = -1 }", "split", "a weight that is negative, infinite or not a number"),
        ("split = { box = nan, bag = 1 }", "split", "a weight that is negative, infinite or not a number"),
        ("split = { box = inf, bag = 1 }", "split", "a weight that is negative, infinite or not a number"),
        ("split = { box = 0, bag = 0 }", "split", "only weights of 0"),
        ('split = { box = "x", bag = 1 }', "split", "expected a number"),
        ("split = {}", "split", "is empty"),
        ("split = { box = 1, bog = 1 }", "split", "bog is not a [plugins.NAME] table; is it box?"),
        ("use = []", "use", "is empty"),
        ('use = ["bxo"]', "use", "bxo is not a [plugins.NAME] table; is it box?"),
        ('use = ["box", "box"]', "use", "box is listed twice"),
        ('use = ["relay"]', "use", "relay (smtp) can't send sms"),
        ("split = { relay = 1, box = 1 }", "split", "relay (smtp) can't send sms"),
        ('refuse = ""', "refuse", "is empty"),
        ('refuse = "no\\nway"', "refuse", "must be one line"),
        (f'refuse = "{"n" * 201}"', "refuse", "must be one line of at most 200 characters"),
        ('refuse = "no"\nurgent = true', "urgent", "has no effect in a rule that refuses"),
        ('refuse = "no"\nper_day = 5', "per_day", "has no effect in a rule that refuses"),
        ('countries = ["DE"]', "", "it needs use, split or refuse"),
        (f'{USE}\nrefuse = "no"', "", "has use and refuse: choose one of them"),
        (f"{USE}\nsplit = {{ box = 1, bag = 2 }}", "", "has use and split: choose one of them"),
        (
            f'{USE}\ncountries = ["DE"]\nprefixes = ["+44"]',
            "",
            "no number has one of its countries and begins",
        ),
    ],
)
def test_a_fault_names_the_rule_and_the_key(faults, lines, key, problem):
    found = faults(rule('use = ["bag"]\nclients = ["amazing"]', name="before") + rule(lines))

    assert [name for name, _ in found] == [f"routes.sms[2 x]{key and f'.{key}'}"], found
    assert problem in found[0][1]


@pytest.mark.parametrize(
    ("lines", "key", "problem"),
    [
        ('countries = ["GB"]', "countries", "an email has none: see domains"),
        ('prefixes = ["+44"]', "prefixes", "an email has none: see domains"),
        ('domains = ["gmail.com", "a@gmail.com"]', "domains", "entry 2 is not a domain such as gmail.com"),
        ('domains = ["gmail"]', "domains", "entry 1 is not a domain"),
        ('domains = ["*"]', "domains", "entry 1 is not a domain"),
        ('domains = ["*.*.example"]', "domains", "entry 1 is not a domain"),
        ('domains = ["a b.example"]', "domains", "entry 1 is not a domain"),
        ('senders = ["Amazing <a@amazing.co>"]', "senders", "entry 1 is neither an address nor an @domain"),
        ('senders = ["amazing.co"]', "senders", "entry 1 is neither an address nor an @domain"),
    ],
)
def test_conditions_of_emails_have_faults_of_their_own(faults, lines, key, problem):
    found = faults(rule(f"{USE}\n{lines}", channel="email"))

    assert [name for name, _ in found] == [f"routes.email[1 x].{key}"], found
    assert problem in found[0][1]


@pytest.mark.parametrize(
    ("name", "key", "problem"),
    [
        ("", "routes.sms[1].name", "is missing"),
        ('name = ""', "routes.sms[1].name", "may have only a-z, A-Z, 0-9, - and _"),
        ('name = "uk codes"', "routes.sms[1].name", "may have only a-z, A-Z, 0-9, - and _"),
        ('name = "Grüße"', "routes.sms[1].name", "may have only a-z, A-Z, 0-9, - and _"),
        (f'name = "{"a" * 65}"', "routes.sms[1].name", "at most 64"),
        ("name = 5", "routes.sms[1].name", "expected a text"),
        ('nam = "x"', "routes.sms[1].nam", "is not a key here; is it name?"),
    ],
)
def test_a_rule_needs_a_name_that_can_be_a_label(faults, name, key, problem):
    ((found, words),) = faults(f"[[routes.sms]]\n{name}\n{USE}\n")

    assert found == key
    assert problem in words


@pytest.mark.parametrize(
    ("text", "key", "other"),
    [
        (rule(f'{USE}\ncountries = ["GB"]') + rule(USE), "routes.sms[2 x].name", "routes.sms[1 x]"),
        (rule(USE) + rule(USE, channel="email"), "routes.sms[1 x].name", "routes.email[1 x]"),
        (
            '[routes]\nemail = ["relay"]\n' + rule(USE, name="email"),
            "routes.sms[1 email].name",
            "routes.email",
        ),
    ],
)
def test_two_rules_of_one_name_are_a_fault_also_on_two_channels(faults, text, key, other):
    ((found, words),) = faults(text)

    assert found == key
    assert words.startswith(f"is also the name of {other}:")


def test_a_rule_that_can_never_be_reached_names_the_rules_that_take_its_messages(faults):
    text = (
        rule('use = ["bag"]\nclients = ["amazing"]', name="one")
        + rule('use = ["bag"]\nclients = ["splendid"]', name="two")
        + rule(USE, name="three")
    )

    assert faults(text) == [
        (
            "routes.sms[3 three]",
            "can never be reached: what it could take is taken by rule 1 (one), 2 (two); put this one before it",
        )
    ]


def test_a_rule_with_a_fault_makes_no_other_rule_unreachable(faults):
    """The condition that has the fault is missing in the settings, so the rule seems to take everything."""
    found = faults(rule(f"{USE}\ncountries = 5", name="one") + rule(USE, name="two"))

    assert [key for key, _ in found] == ["routes.sms[1 one].countries"]


def test_every_fault_of_every_rule_is_named_at_once(faults):
    text = rule('use = ["nobody"]\ncountries = ["XX"]\nper_day = -5\nprefixes = []', name="one") + rule(
        'refuse = "no"\nurgent = true\nclients = ["nobody"]', name="two"
    )

    assert sorted(key for key, _ in faults(text)) == [
        "routes.sms[1 one].countries",
        "routes.sms[1 one].per_day",
        "routes.sms[1 one].prefixes",
        "routes.sms[1 one].use",
        "routes.sms[2 two].clients",
        "routes.sms[2 two].urgent",
    ]


def test_no_fault_quotes_what_may_be_a_secret_in_the_wrong_place(faults):
    secret = "hunter2 hunter2"
    lists = "\n".join(f'{key} = ["{secret}"]' for key in ("clients", "countries", "prefixes", "use"))
    text = rule(f"{lists}\nsenders = 5", name=secret) + rule(f'domains = ["{secret}"]', "email")

    found = faults(text)

    assert len(found) >= 6
    assert "hunter2" not in str(found)


def test_names_and_conditions_may_come_from_the_environment(read, monkeypatch):
    monkeypatch.setenv("WHERE", "GB")
    monkeypatch.setenv("NAME", "islands")

    routes, faults = read(rule(f'{USE}\ncountries = ["env:WHERE"]', name="env:NAME"))

    assert faults == []
    assert (routes.sms[0].name, routes.sms[0].countries) == ("islands", ("GB",))
    _, ((key, _),) = read(rule(f'{USE}\ncountries = ["env:NAME"]', name="env:NAME"))
    assert key == "routes.sms[1 islands].countries"
    _, ((key, problem),) = read(rule(USE, name="env:NOT_SET"))
    assert (key, problem) == ("routes.sms[1].name", "the environment variable NOT_SET is not set")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("blocks = true", {"plugins.box.blocks"}),
        ("blocks = false", set()),
        ('blocks = "yes"', {"plugins.box.blocks"}),
        ("merge = true", {"plugins.box.merge"}),
        ("merge = false", set()),
    ],
)
def test_only_a_contact_source_can_block_and_merge(read, tmp_path, lines, expected):
    file = tmp_path / "gatepost.toml"
    file.write_text(BASE.replace('folder = "box"', f'folder = "box"\n{lines}'))

    assert {key for key, _ in app.examine(file)[2]} == expected
    file.write_text(BASE.replace('path = "players.csv"', f'path = "players.csv"\n{lines}'))
    faults_of_a_source = {key for key, _ in app.examine(file)[2]}
    expected_of_a_source = {
        'blocks = "yes"': {"plugins.players.blocks"},
        "merge = true": {"plugins.players.merge"},
    }
    assert faults_of_a_source == expected_of_a_source.get(lines, set())


def test_only_what_takes_webhooks_has_networks_of_webhooks(tmp_path):
    file = tmp_path / "gatepost.toml"
    lines = 'folder = "box"\nwebhook_networks = ["203.0.113.0/24"]'
    file.write_text(
        BASE.replace(
            'path = "players.csv"', 'path = "players.csv"\nwebhook_networks = ["203.0.113.7"]'
        ).replace('folder = "box"', lines)
    )
    faults = dict(app.examine(file)[2])
    assert faults["plugins.players.webhook_networks"] == "is for webhooks, and csv takes none"

    file.write_text(BASE.replace('folder = "box"', lines.replace("0/24", "7/24")))
    ((key, problem),) = app.examine(file)[2]
    assert key == "plugins.box.webhook_networks"
    assert "write 203.0.113.0/24" in problem
