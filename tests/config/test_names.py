"""Names of plugin instances in the configuration: contact sources of each client, and misspelled names."""

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
    """Return a function that reads BRANDS with changes, and returns the faults as key and problem."""
    file = tmp_path / "gatepost.toml"

    def read_faults(*changes):
        text = BRANDS
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        return [tuple(fault) for fault in app.examine(file)[2]]

    assert read_faults() == []
    yield read_faults
    redaction.redact_settings(None)


def test_with_several_clients_each_needs_contacts_of_its_own(faults):
    unset = (AMAZING, ""), ("[contacts]\n", '[contacts]\nsources = ["players"]\n')

    (one,) = faults(*unset)

    assert one[0] == "clients.amazing.contacts"
    assert "is missing, and there is also clients.splendid" in one[1]
    assert 'as in contacts = ["players"]' in one[1]
    assert "write shared = true in [contacts]" in one[1]
    both = faults(*unset, (SPLENDID, ""))
    assert [key for key, _ in both] == ["clients.amazing.contacts", "clients.splendid.contacts"]


def test_with_several_clients_none_may_use_the_source_of_another(faults):
    (one,) = faults((SPLENDID, 'contacts = ["members", "players"]\n'))

    assert one[0] == "clients.splendid.contacts"
    assert "players is also a source of clients.amazing" in one[1]
    assert "write shared = true in [contacts]" in one[1]


def test_a_source_that_merges_needs_one_before_it(faults):
    merging = ('path = "members.csv"\n', 'path = "members.csv"\nmerge = true\n')
    shared = ("[contacts]\n", "[contacts]\nshared = true\n")
    second = (SPLENDID, 'contacts = ["players", "members"]\n')

    assert faults(merging, shared, second) == []
    for sources in (SPLENDID, 'contacts = ["members", "players"]\n'):
        ((key, problem),) = faults(merging, shared, (SPLENDID, sources))
        assert key == "plugins.members.merge"
        assert "clients.splendid.contacts begins with members" in problem
    named = ("[contacts]\n", '[contacts]\nshared = true\nsources = ["members"]\n')
    ((key, problem),) = faults(merging, named, second)
    assert (key, "contacts.sources begins with members" in problem) == ("plugins.members.merge", True)


@pytest.mark.parametrize("contacts", ["", AMAZING, 'contacts = ["members", "players"]\n'])
def test_clients_may_share_sources_when_shared_is_true(faults, contacts):
    assert faults((SPLENDID, contacts), ("[contacts]\n", "[contacts]\nshared = true\n")) == []


def test_a_single_client_may_use_the_sources_of_contacts(faults):
    alone = BRANDS[BRANDS.index("[clients.splendid]") : BRANDS.index("[contacts]")]

    assert faults((alone, "")) == []
    assert faults((alone, ""), (AMAZING, ""), ("[contacts]\n", '[contacts]\nsources = ["players"]\n')) == []


def test_an_unknown_source_is_named_with_the_closest_known_one(faults):
    assert faults((AMAZING, 'contacts = ["playrs"]\n'), ('email = ["box"]', 'email = ["box", "x"]')) == [
        (
            "clients.amazing.contacts",
            "playrs is not a [plugins.NAME] table; is it players? there are: box, members, players",
        ),
        ("routes.email", "x is not a [plugins.NAME] table; there are: box, members, players"),
    ]


def test_a_name_from_the_environment_is_shown_as_the_file_has_it(faults, monkeypatch):
    monkeypatch.setenv("WHOSE", "the value")

    (one,) = faults((AMAZING, 'contacts = ["env:WHOSE"]\n'))

    assert one[1].startswith("env:WHOSE is not a [plugins.NAME] table")


def test_a_text_that_cannot_be_a_name_is_not_shown(faults):
    (one,) = faults((AMAZING, 'contacts = ["a secret?"]\n'))

    assert one[1].startswith("entry 1 is not a [plugins.NAME] table")


def test_a_plugin_without_find_contact_is_not_a_contact_source(faults):
    assert faults((AMAZING, 'contacts = ["players", "box"]\n')) == [
        ("clients.amazing.contacts", "box (sandbox) is not a contact source")
    ]


def test_a_name_listed_twice_is_a_fault(faults):
    assert faults(('email = ["box"]', 'email = ["box", "box"]')) == [("routes.email", "box is listed twice")]


@pytest.mark.parametrize(
    ("old", "new", "key", "right_name"),
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
def test_a_misspelled_key_is_one_fault_that_names_the_right_key(faults, old, new, key, right_name):
    (one,) = faults((old, new))

    assert one[0] == key
    assert f"is not a key here; is it {right_name}? there are: " in one[1]


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
def test_an_unusable_value_is_one_fault(faults, old, new, key):
    assert [name for name, _ in faults((old, new))] == [key]
