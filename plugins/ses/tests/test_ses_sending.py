"""Sending: the request, the meaning of every error, the credentials, and the ping."""

import json
import logging
import traceback

import pytest
from aiohttp import web

from gatepost.errors import GatepostError, Rejected, Unavailable, Uncertain
from gatepost.model import Mailbox, Secret
from gatepost.testing import emulator
from gatepost.testing.serving import serving
from gatepost_ses.messages import mail_body
from gatepost_ses.refusals import REFUSALS

RECIPIENT = "canary.4711@mail.example"
UNVERIFIED = f"Email address is not verified. The following identities failed the check in region EU-WEST-1: {RECIPIENT}"
NO_SET = "Configuration set <reports> does not exist."
QUOTA = "Daily message quota exceeded"


async def test_a_mail_as_ses_gets_it(provider, plugin, email):
    reply_to = Mailbox("help@brand.example", "Help")
    headers = {
        "List-Unsubscribe": "<https://brand.example/u/7>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    message = email(reply_to=reply_to, headers=headers, subject="Hi", tags=("brand.one", "news"))
    receipt = await plugin.send_email(message)
    [taken] = provider.taken
    assert receipt.provider_id == taken.provider_id
    assert taken.message == {
        "FromEmailAddress": "Brand <news@brand.example>",
        "Destination": {"ToAddresses": [RECIPIENT]},
        "ReplyToAddresses": ["Help <help@brand.example>"],
        "Content": {
            "Simple": {
                "Subject": {"Data": "Hi"},
                "Body": {
                    "Text": {"Data": "Hello", "Charset": "UTF-8"},
                    "Html": {"Data": "<p>Hello</p>", "Charset": "UTF-8"},
                },
                "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
            }
        },
        "EmailTags": [
            {"Name": "gp_id", "Value": message.id},
            {"Name": "client", "Value": "brand-one"},
            {"Name": "route", "Value": "news"},
        ],
        "ConfigurationSetName": "reports",
    }


async def test_without_a_configuration_set_none_is_named(provider, running, email):
    async with running(configuration_set=None) as plugin:
        await plugin.send_email(email())
    assert "ConfigurationSetName" not in provider.taken[0].message


@pytest.mark.parametrize("name", ["Łódź, " * 20 + "a", 'Brand "One", Inc.', "Grüße 🎲", ""])
async def test_a_name_and_a_subject_arrive_whole(provider, plugin, email, name):
    subject = f"{name} Привет " * 5
    await plugin.send_email(email(sender=Mailbox("news@brand.example", name), subject=subject, text="Привет"))
    got = provider.received(provider.taken[0])
    assert (got.sender_name, got.sender, got.subject, got.text) == (
        name,
        "news@brand.example",
        subject,
        "Привет",
    )
    sent = provider.taken[0].message
    for text in (sent["FromEmailAddress"], sent["Content"]["Simple"]["Subject"]["Data"]):
        assert text.isascii()
        # RFC 2047, section 2.
        assert all(len(word) <= 75 for word in text.split())


@pytest.mark.parametrize(
    "field",
    [
        {"recipient": Secret("żaba@mail.example")},
        {"sender": Mailbox("żaba@mail.example")},
        {"reply_to": Mailbox("żaba@mail.example")},
    ],
)
async def test_an_address_that_ses_can_not_take_is_not_sent(provider, plugin, email, field):
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email(**field))
    assert (caught.value.code, provider.requests) == ("SMTPUTF8", [])


ACCOUNT = {"misconfigured": True, "content_only": False}
SENDER = {"misconfigured": True, "content_only": True}
ERRORS = [
    ("MessageRejected", "", Rejected, {}),
    ("MessageRejected", UNVERIFIED, Unavailable, SENDER),
    ("MessageRejected", NO_SET, Unavailable, ACCOUNT),
    # A paused account, in the words of today and of earlier years.
    ("MessageRejected", "Sending paused for this account. For more information, …", Unavailable, ACCOUNT),
    ("MessageRejected", "Sending suspended for this account. For more information, …", Unavailable, ACCOUNT),
    ("BadRequestException", "", Rejected, {}),
    ("BadRequestException", f"Illegal address: {RECIPIENT}", Rejected, {}),
    ("BadRequestException", NO_SET, Unavailable, ACCOUNT),
    ("NotFoundException", NO_SET, Unavailable, ACCOUNT),
    ("NotFoundException", "", Unavailable, ACCOUNT),
    ("MailFromDomainNotVerifiedException", "", Unavailable, SENDER),
    ("AccountSuspendedException", "", Unavailable, ACCOUNT),
    ("SendingPausedException", "", Unavailable, ACCOUNT),
    ("TooManyRequestsException", "", Unavailable, {"misconfigured": False, "retry_after": 1.0}),
    ("TooManyRequestsException", QUOTA, Unavailable, {"misconfigured": False, "retry_after": 600.0}),
    ("ThrottlingException", "Maximum sending rate exceeded", Unavailable, {"retry_after": 1.0}),
    ("ThrottlingException", QUOTA, Unavailable, {"retry_after": 600.0}),
    ("LimitExceededException", "", Unavailable, {"misconfigured": False, "retry_after": 600.0}),
    # Those of every AWS service.
    ("AccessDeniedException", "", Unavailable, ACCOUNT),
    ("ExpiredTokenException", "", Unavailable, ACCOUNT),
    ("IncompleteSignature", "", Unavailable, ACCOUNT),
    ("InvalidSignatureException", "", Unavailable, ACCOUNT),
    ("MissingAuthenticationTokenException", "", Unavailable, ACCOUNT),
    ("NotAuthorized", "", Unavailable, ACCOUNT),
    ("RequestExpired", "", Unavailable, ACCOUNT),
    ("UnrecognizedClientException", "", Unavailable, ACCOUNT),
    ("InternalFailure", "", Unavailable, {"misconfigured": False}),
    ("ServiceUnavailable", "", Unavailable, {"misconfigured": False}),
    ("RequestEntityTooLarge", "", Rejected, {}),
    ("ANewException", "", Rejected, {}),
]


@pytest.mark.parametrize(("code", "text", "outcome", "more"), ERRORS)
async def test_the_meaning_of_an_error(provider, plugin, email, code, text, outcome, more):
    provider.error_code, provider.error_text = code, text
    with pytest.raises(GatepostError) as caught:
        await plugin.send_email(email())
    error = caught.value
    assert type(error) is outcome
    assert error.code == code
    # Of a known error it says more than its HTTP status.
    assert ("the provider answered" in error.reason) == (code not in REFUSALS)
    assert {name: getattr(error, name) for name in more} == more
    assert RECIPIENT not in repr(error) + repr(vars(error))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [((), {}), (("news",), {"route": "news"}), (("brand", "a.b"), {"client": "brand", "route": "a-b"})],
)
async def test_the_names_of_the_labels(provider, plugin, email, tags, expected):
    # Without a client the only label is the route.
    await plugin.send_email(email(tags=tags))
    found = {tag["Name"]: tag["Value"] for tag in provider.taken[0].message["EmailTags"]}
    assert found == {"gp_id": provider.taken[0].id, **expected}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException"])
async def test_a_key_that_may_not_send_rejects_no_mail(provider, plugin, email, code):
    # AWS documents the status 403, and for some services 400.
    provider.plan(emulator.answer(400, {"x-amzn-ErrorType": code}))
    with pytest.raises(Unavailable) as caught:
        await plugin.send_email(email())
    assert (caught.value.misconfigured, caught.value.code) == (True, code)


@pytest.mark.parametrize("code", [f"{RECIPIENT}", "x" * 50, "+447700900123", ""])
async def test_a_code_that_is_none_is_not_passed_on(provider, plugin, email, code):
    provider.plan(emulator.answer(400, {"x-amzn-ErrorType": code}))
    with pytest.raises(Rejected) as caught:
        await plugin.send_email(email())
    assert caught.value.code == "400"


@pytest.mark.parametrize("body", [{}, [], {"MessageId": 7}, {"MessageId": RECIPIENT + " x"}])
async def test_an_answer_that_is_not_from_ses_is_uncertain(table, running, email, body):
    async def answer(_request):
        return web.json_response(body)

    async with serving(web.Server(answer)) as url, running(base_url=url) as plugin:
        with pytest.raises(Uncertain):
            await plugin.send_email(email())


async def test_an_account_in_the_sandbox(provider, running, core, email):
    provider.production_access = False
    provider.verified = {"brand.example"}
    async with running() as plugin:
        await plugin.ping()
        with pytest.raises(Unavailable) as caught:
            await plugin.send_email(email())
        assert (caught.value.misconfigured, caught.value.content_only) == (True, True)
        assert "sandbox" in caught.value.reason
        await plugin.send_email(email(recipient=Secret("me@brand.example")))
    assert "sandbox" in str(core.warnings)


async def test_a_sender_that_is_not_verified(provider, plugin, email):
    provider.verified = {"other.example"}
    with pytest.raises(Unavailable, match="not verified") as caught:
        await plugin.send_email(email())
    assert caught.value.content_only


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"secret_access_key": "another"}, "InvalidSignatureException"),
        ({"access_key_id": "AKIAIOSFODNN7EXAMPLE"}, "UnrecognizedClientException"),
        ({"region": "us-east-1"}, "InvalidSignatureException"),
        ({"session_token": "a-token"}, "UnrecognizedClientException"),
    ],
)
async def test_a_key_of_another_account_or_region(running, email, keys, code):
    async with running(**keys) as plugin:
        for call in (plugin.ping(), plugin.send_email(email())):
            with pytest.raises(Unavailable) as caught:
                await call
            assert (caught.value.misconfigured, caught.value.code) == (True, code)


async def test_a_temporary_key_sends_its_token(provider, running, email):
    provider.session_token = "a-token"
    async with running(session_token="a-token") as plugin:
        await plugin.send_email(email())
    assert provider.taken[0].headers["X-Amz-Security-Token"] == "a-token"


async def test_a_base_url_with_a_path_is_signed_whole(provider, running):
    async with running(base_url=f"{provider.base_url}/v2/email") as plugin:
        with pytest.raises(Unavailable) as caught:
            await plugin.ping()
    # Not a wrong signature.
    assert caught.value.code == "UnknownOperationException"


async def test_ping_costs_nothing(provider, plugin, core):
    await plugin.ping()
    assert provider.requests == [("GET", "/v2/email/account")]
    assert not core.warnings


@pytest.mark.parametrize(
    ("code", "misconfigured"),
    [
        ("AccessDeniedException", True),
        ("BadRequestException", True),
        ("TooManyRequestsException", False),
        ("ThrottlingException", False),
        ("InternalFailure", False),
    ],
)
async def test_ping_raises_only_unavailable(provider, plugin, code, misconfigured):
    provider.error_code = code
    with pytest.raises(Unavailable) as caught:
        await plugin.ping()
    assert (caught.value.code, caught.value.misconfigured) == (code, misconfigured)


async def test_ping_finds_an_account_that_is_paused(provider, plugin):
    provider.sending_enabled = False
    with pytest.raises(Unavailable, match="paused") as caught:
        await plugin.ping()
    assert caught.value.misconfigured


@pytest.fixture
async def metadata(provider, monkeypatch, tmp_path):
    """The credentials of a container's role, as AWS serves them: Amazon ECS, and EKS with Pod Identity."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    answers = {"status": 200, "calls": 0, "expires": "2099-01-01T00:00:00Z"}

    async def answer(request):
        answers["calls"] += 1
        content = {
            "AccessKeyId": provider.access_key_id,
            "SecretAccessKey": provider.secret_access_key,
            "Token": provider.session_token,
            "Expiration": answers["expires"],
        }
        return web.json_response(content, status=answers["status"])

    provider.session_token = "token-of-the-role"
    async with serving(web.Server(answer)) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        yield answers


ROLE = {"use_role": True, "access_key_id": None, "secret_access_key": None, "session_token": None}


async def test_the_role_of_a_container_signs(provider, running, email, metadata, set_ahead):
    async with running(**ROLE) as plugin:
        for _ in range(3):
            await plugin.send_email(email())
        set_ahead(61)
        await plugin.send_email(email())
    assert provider.taken[0].headers["X-Amz-Security-Token"] == "token-of-the-role"
    assert (len(provider.taken), metadata["calls"]) == (4, 1)


async def test_credentials_are_renewed_before_they_end(provider, running, email, metadata, set_ahead):
    metadata["expires"] = "2001-01-01T00:00:00Z"
    async with running(**ROLE) as plugin:
        with pytest.raises(Unavailable):
            await plugin.ping()
        metadata["expires"] = "2099-01-01T00:00:00Z"
        set_ahead(6)
        await plugin.send_email(email())
    assert metadata["calls"] >= 2


async def test_without_a_role_nothing_is_sent(provider, running, email, metadata, monkeypatch):
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    async with running(**ROLE) as plugin:
        for call in (plugin.ping(), plugin.send_email(email())):
            with pytest.raises(Unavailable, match="a role") as caught:
                await call
            assert (caught.value.misconfigured, caught.value.code) == (True, "role")
    assert provider.requests == []


async def test_a_role_whose_credentials_can_not_be_read(running, email, metadata, monkeypatch):
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://metadata.example/credentials")
    async with running(**ROLE) as plugin:
        with pytest.raises(Unavailable, match="a role"):
            await plugin.send_email(email())


async def test_nothing_private_is_logged_or_raised(provider, running, email, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    provider.session_token = "hidden-token"
    async with running(session_token="hidden-token") as plugin:
        texts = await texts_of_sends(provider, plugin, email)
    output = "\n".join([*texts, caplog.text, *capsys.readouterr()])
    for private in (RECIPIENT, "canary", "4711", provider.secret_access_key, "hidden-token"):
        assert private not in output


async def texts_of_sends(provider, plugin, email):
    """Return all texts of the errors, and of a receipt."""
    texts = []
    for code, text, *_ in ERRORS:
        provider.error_code, provider.error_text = code, text or RECIPIENT
        try:
            await plugin.send_email(email())
        except GatepostError as error:
            texts += [repr(error), str(vars(error)), "".join(traceback.format_exception(error))]
    provider.error_code = ""
    return [*texts, repr(await plugin.send_email(email()))]


def test_the_size_of_a_body_is_that_of_its_texts(email):
    body = mail_body(email(html="ж" * 10_000, subject="Hi"), "")
    assert len(body) < 22_000
    assert json.loads(body)["Content"]["Simple"]["Body"]["Html"]["Data"] == "ж" * 10_000
