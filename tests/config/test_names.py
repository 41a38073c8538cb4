"""Names of instances in the configuration: whose contacts are asked, and what becomes of a slip of the pen."""

import pytest

from gatepost import app
from gatepost.observe import redaction

BRANDS = """\
[clients.amazing]
authorization = ["one"]
contacts = ["players"]
[clients.splendid]
authorization = ["two"]
contacts = ["members"]
[contacts]
[routes]
email = ["box"]
[plugins.players]
use = "csv"
path = "players.csv"
[plugins.members]
use = "csv"
path = "members.csv"
[plugins.box]
use = "sandbox"
folder = "box"
"""

AMAZING, SPLENDID = 'contacts = ["players"]\n', 'contacts = ["members"]\n'


@pytest.fixture
def faults(tmp_path):
    """Has the configuration of two brands read with these changes; gives the faults as key and problem."""
    file = tmp_path / "gatepost.toml"

    def read(*changes):
        text = BRANDS
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        return [tuple(fault) for fault in app.examine(file)[2]]

    assert read() == []
    yield read
    redaction.redact_settings(None)


def test_of_several_clients_each_needs_contacts_of_its_own(faults):
    unset = (AMAZING, ""), ("[contacts]\n", '[contacts]\nsources = ["players"]\n')

    (one,) = faults(*unset)

    assert one[0] == "clients.amazing.contacts"
    assert "is missing, and there is also clients.splendid" in one[1]
    assert 'as in contacts = ["players"]' in one[1]
    assert "write shared = true in [contacts]" in one[1]
    both = faults(*unset, (SPLENDID, ""))
    assert [key for key, _ in both] == ["clients.amazing.contacts", "clients.splendid.contacts"]


def test_of_several_clients_none_asks_anothers_source(faults):
    (one,) = faults((SPLENDID, 'contacts = ["members", "players"]\n'))

    assert one[0] == "clients.splendid.contacts"
    assert "players is a source of clients.amazing too" in one[1]
    assert "write shared = true in [contacts]" in one[1]


@pytest.mark.parametrize("theirs", ["", AMAZING, 'contacts = ["members", "players"]\n'])
def test_clients_share_sources_where_the_operator_says_so(faults, theirs):
    assert faults((SPLENDID, theirs), ("[contacts]\n", "[contacts]\nshared = true\n")) == []


def test_a_client_alone_may_ask_the_sources_of_contacts(faults):
    alone = BRANDS[BRANDS.index("[clients.splendid]") : BRANDS.index("[contacts]")]

    assert faults((alone, "")) == []
    assert faults((alone, ""), (AMAZING, ""), ("[contacts]\n", '[contacts]\nsources = ["players"]\n')) == []


def test_a_source_that_there_is_not_is_named_with_the_nearest_that_there_is(faults):
    assert faults((AMAZING, 'contacts = ["playrs"]\n'), ('email = ["box"]', 'email = ["box", "x"]')) == [
        (
            "clients.amazing.contacts",
            "playrs is no [plugins.NAME]; is it players? there are: box, members, players",
        ),
        ("routes.email", "x is no [plugins.NAME]; there are: box, members, players"),
    ]


def test_a_name_that_comes_from_the_environment_is_shown_as_the_file_has_it(faults, monkeypatch):
    monkeypatch.setenv("WHOSE", "the value of it")

    (one,) = faults((AMAZING, 'contacts = ["env:WHOSE"]\n'))

    assert one[1].startswith("env:WHOSE is no [plugins.NAME]")


def test_what_can_be_no_name_is_not_shown(faults):
    (one,) = faults((AMAZING, 'contacts = ["a secret?"]\n'))

    assert one[1].startswith("name 1 is no [plugins.NAME]")


def test_an_instance_that_knows_no_users_is_no_source(faults):
    assert faults((AMAZING, 'contacts = ["players", "box"]\n')) == [
        ("clients.amazing.contacts", "box (sandbox) knows no users")
    ]


def test_a_name_that_stands_twice_is_named(faults):
    assert faults(('email = ["box"]', 'email = ["box", "box"]')) == [
        ("routes.email", "box stands here twice")
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "meant"),
    [
        ("[contacts]\n", "[contacts]\nshard = true\n", "contacts.shard", "shared"),
        ('contacts = ["members"]', 'contact = ["members"]', "clients.splendid.contact", "contacts"),
        (
            'authorization = ["two"]',
            'autorization = ["two"]',
            "clients.splendid.autorization",
            "authorization",
        ),
        ('path = "players.csv"', 'pth = "players.csv"', "plugins.players.pth", "path"),
        ("[plugins.", "[plugin.", "plugin", "plugins"),
        ("[clients.", "[client.", "client", "clients"),
    ],
)
def test_a_misspelled_key_is_one_fault_that_says_what_is_meant(faults, old, new, key, meant):
    (one,) = faults((old, new))

    assert one[0] == key
    assert f"is not a key here; is it {meant}? there are: " in one[1]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('use = "sandbox"', 'use = "sandbx"', "plugins.box.use"),
        ('folder = "box"', "", "plugins.box.folder"),
        ('folder = "box"', "folder = 5", "plugins.box.folder"),
        ("[contacts]\n", '[contacts]\nshared = "perhaps"\n', "contacts.shared"),
        ('contacts = ["members"]', 'contacts = "members"', "clients.splendid.contacts"),
        ('email = ["box"]', 'email = "box"', "routes.email"),
    ],
)
def test_a_value_at_fault_is_one_fault(faults, old, new, key):
    assert [name for name, _ in faults((old, new))] == [key]
