"""What `gatepost check --live` says of the list in the guide "Mail that arrives"."""

import pytest

from gatepost import app
from gatepost.cli.mail_checks import check_mail

CONFIG = """\
[server]
public_url = "https://gate.example"
token_keys = ["{token_key}"]

[clients.brand]
authorization = ["a"]
email_senders = ["@brand.example"]
unsubscribe = true

[routes]
email = ["relay", "other"]

[plugins.relay]
use = "smtp"
host = "relay.example"

[plugins.other]
use = "smtp"
host = "other.example"
"""


@pytest.fixture
def findings(tmp_path):
    """Return a function that checks a changed configuration, whose plugins have said nothing but ``confirmed``."""

    def find(*changes, confirmed=("relay", "other")):
        text = CONFIG.replace("{token_key}", "A" * 43 + "=")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "gatepost.toml"
        file.write_text(text)
        settings, instances, faults = app.examine(file)
        assert faults == []
        for name in confirmed:
            instances[name].services.confirm("SPF is in order")
        return list(check_mail(settings, instances))

    return find


def test_links_for_unsubscribing_are_ticked_off_with_the_clients_own_url(findings):
    text = "one-click unsubscribe: mails through relay, other have a link to https://"

    assert findings() == [("good", "clients.brand", f"{text}gate.example")]
    own = ("unsubscribe = true", 'unsubscribe = true\npublic_url = "https://brand.example/"')
    assert findings(own) == [("good", "clients.brand", f"{text}brand.example")]


def test_a_client_without_links_is_warned_if_its_mails_are_delivered(findings):
    off = ("unsubscribe = true", "")

    [(grade, key, text)] = findings(off)
    assert (grade, key) == ("warning", "clients.brand.unsubscribe")
    assert "mails through relay, other have no one-click unsubscribe" in text
    others = '[[routes.email]]\nname = "others"\nclients = ["third"]\nuse = ["relay", "other"]'
    third = '[contacts]\nshared = true\n[clients.third]\nauthorization = ["b"]\nunsubscribe = true\n'
    only_third = ('[routes]\nemail = ["relay", "other"]', third + others)
    assert [key for _, key, _ in findings(off, only_third)] == ["clients.third"]
    box = (CONFIG.partition("[plugins.relay]")[2], '\nuse = "sandbox"\nfolder = "box"\n')
    assert findings(off, (', "other"]', "]"), box, confirmed=()) == []


def test_a_providers_own_links_are_not_ticked_off(findings):
    own = ('host = "other.example"', 'host = "other.example"\nown_unsubscribe = true')

    note, good = findings(own)
    assert note[:2] == ("note", "clients.brand")
    assert "through other: left to the provider (own_unsubscribe)" in note[2]
    assert "mails through relay have a link" in good[2]
    [note] = findings(own, ('host = "relay.example"', 'host = "relay.example"\nown_unsubscribe = true'))
    assert note[0] == "note"


def test_links_without_https_are_a_warning(findings):
    http = ("https://gate.example", "http://gate.example")
    private = ("unsubscribe = true", "unsubscribe = true\nallow_private_callbacks = true")

    [(grade, key, text)] = findings(http, private)
    assert (grade, key) == ("warning", "clients.brand.unsubscribe")
    assert "without https" in text


def test_the_records_of_a_provider_that_nothing_looked_at_are_the_operators_to_check(findings):
    listed = ", ".join(f'"@brand{number}.example"' for number in range(7))

    _, note = findings(('"@brand.example"', listed), confirmed=["relay"])
    assert note[:2] == ("note", "plugins.other")
    domains = ", ".join(f"brand{number}.example" for number in range(3))
    assert note[2].endswith(f"has verified, {domains} and 4 more")
    _, note = findings(('email_senders = ["@brand.example"]', ""), confirmed=["other"])
    assert note[2].endswith("has verified, your sender domains")
