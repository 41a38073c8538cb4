"""A user name and a password as a setting, and the check that a webhook comes with them."""

from base64 import b64encode

import pytest

from gatepost import wire
from gatepost.errors import BadSignature, Fault
from gatepost.model import Secret
from gatepost.testing.webhook_requests import webhook_request, with_headers

LOGIN = wire.Login(username="anna", password=Secret("pässwörd:x"))


def request(authorization):
    return with_headers(
        webhook_request("https://gate.example/webhooks/acme", b""), {"Authorization": authorization}
    )


def basic(text):
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "Basic "])
def test_the_right_login_is_accepted(scheme):
    wire.expect_basic_auth(request(f"{scheme} {basic('anna:pässwörd:x')}"), LOGIN)


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic ", f"Bearer {basic('anna:pässwörd:x')}", "anna:pässwörd:x", "Basic \ud800"]
    + [
        f"Basic {basic(text)}"
        for text in ("", "anna", "anna:", "anna:passwort", "Anna:pässwörd:x", "anna:pässwörd:x ")
    ],
)
def test_any_other_is_refused(authorization):
    with pytest.raises(BadSignature, match="the user name or the password is missing or wrong"):
        wire.expect_basic_auth(request(authorization), LOGIN)


def test_a_login_that_protects_nothing_is_a_fault():
    login = wire.Login(username="an:na", password=Secret(""))
    assert list(login.faults("webhook_basic")) == [
        Fault("webhook_basic.password", "is empty"),
        Fault("webhook_basic.username", "can't have a colon"),
    ]


def test_nothing_is_not_the_same_as_nothing():
    with pytest.raises(BadSignature, match="the token is missing or wrong"):
        wire.expect_same("", "", "the token")
