"""The settings for links in mails: each that can't work is a fault, and all are named at once."""

import base64

import pytest

from gatepost import app, content_keys
from gatepost.observe import redaction

KEY, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in range(2))


@pytest.fixture
def faults(tmp_path):
    """Return a function that reads settings of the server, the client and the delivery, and returns the faults."""
    file = tmp_path / "gatepost.toml"

    def read_faults(server="", client="", delivery="", page=""):
        text = (
            f'[server]\n{server}\n[delivery]\n{delivery}\n[clients.brand]\nauthorization = ["a"]\n{client}\n'
            f"[clients.brand.unsubscribe_page]\n{page}\n"
        )
        file.write_text(text)
        return [(fault.key, fault.problem) for fault in app.examine(file)[2]]

    yield read_faults
    redaction.redact_settings(None)


GOOD = f'token_keys = ["{KEY}", "{OTHER}"]\npublic_url = "https://gate.example/"'
BOTH = "unsubscribe = true\nopen_pixel = true"


def test_links_need_keys_and_a_url(faults):
    assert faults(GOOD, BOTH) == []
    assert faults(f'token_keys = ["{KEY}"]', BOTH + '\npublic_url = "https://brand.example/x"') == []
    assert [key for key, _ in faults("", BOTH, "retention = 86400")] == [
        "clients.brand.unsubscribe",
        "clients.brand.unsubscribe",
        "clients.brand.open_pixel",
        "clients.brand.open_pixel",
        "delivery.retention",
    ]


def test_a_fault_of_a_key_or_url_is_named_once(faults):
    for wrong in ('"short"', f'"{KEY}", "{KEY}"'):
        ((key, _),) = faults(GOOD.replace(f'"{KEY}", "{OTHER}"', wrong), BOTH)
        assert key == "server.token_keys"
    for wrong in ("token_keys = 7", 'token_keys = ["env:NONE"]'):
        ((key, _),) = faults(f'{wrong}\npublic_url = "https://gate.example"', BOTH)
        assert key == "server.token_keys"
    ((key, _),) = faults(GOOD, BOTH + "\npublic_url = 7")
    assert key == "clients.brand.public_url"
    assert ("clients.brand.public_url", "must be a URL such as https://api.example.com") in faults(
        GOOD, 'public_url = "gate.example"'
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://gate.example", "https"),
        ("https://gäte.example", "ASCII"),
        ("https://gate.example/a'b", "ASCII"),
    ],
)
def test_a_url_must_be_one_that_mail_programs_call(faults, url, why):
    found = faults(GOOD.replace("https://gate.example/", url), "unsubscribe = true")

    assert [key for key, _ in found] == ["clients.brand.unsubscribe"]
    assert why in found[0][1]


def test_http_is_possible_where_private_callbacks_are(faults):
    http = GOOD.replace("https", "http")

    assert faults(http, f"{BOTH}\nallow_private_callbacks = true") == []


@pytest.mark.parametrize(("retention", "keys"), [(2_591_999, ["delivery.retention"]), (2_592_000, [])])
def test_a_link_for_unsubscribing_works_for_30_days(faults, retention, keys):
    assert [key for key, _ in faults(GOOD, "unsubscribe = true", f"retention = {retention}")] == keys
    assert faults(GOOD, "open_pixel = true", f"retention = {retention}") == []


def test_keys_need_the_package(faults, monkeypatch):
    monkeypatch.setattr(content_keys, "find_spec", lambda _name: None)

    ((key, problem),) = faults(GOOD)
    assert (key, "cryptography" in problem) == ("server.token_keys", True)


@pytest.mark.parametrize(
    ("page", "key"),
    [
        ('background = "red"', "background"),
        ('button_colour = "#12345"', "button_colour"),
        ('title = ""', "title"),
        ('language = "English!"', "language"),
        ('languages.de = { title = "a", text = "b", button = "c" }', "languages.de.done"),
        ('languages.de = { title = "a", text = "b", button = "c", done = "d", e = "f" }', "languages.de.e"),
        ('languages.en = { title = "a", text = "b", button = "c", done = "d" }', "languages.en"),
        ('languages.EN = { title = "a", text = "b", button = "c", done = "d" }', "languages.EN"),
        ('languages."d e" = { title = "a", text = "b", button = "c", done = "d" }', "languages.d e"),
        ('languages.de = "Abmelden"', "languages"),
    ],
)
def test_a_fault_names_the_key_of_the_page(faults, page, key):
    assert [found for found, _ in faults(page=page)] == [f"clients.brand.unsubscribe_page.{key}"]


def test_a_page_in_two_languages_is_fine(faults):
    assert faults(page='languages.de = { title = "a", text = "b", button = "c", done = "d" }') == []
