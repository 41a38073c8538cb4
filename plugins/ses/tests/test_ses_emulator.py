"""The emulator is as strict as AWS."""

import json

import aiohttp
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

MAIL = {
    "FromEmailAddress": "Brand <news@brand.example>",
    "Destination": {"ToAddresses": ["anna@players.example"]},
    "Content": {"Simple": {"Subject": {"Data": "Hi"}, "Body": {"Text": {"Data": "Hello"}}}},
    "EmailTags": [{"Name": "gp_id", "Value": "1"}],
}
PATH = "/v2/email/outbound-emails"


@pytest.fixture
def post(provider):
    """Send a request that botocore has signed, with what is changed in it afterwards."""

    async def send(body=MAIL, *, path=PATH, region=None, key=None, service="ses", headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        credentials = ReadOnlyCredentials(provider.access_key_id, key or provider.secret_access_key, None)
        request = AWSRequest(
            "POST", provider.base_url + path, headers={"Content-Type": "application/json"}, data=content
        )
        SigV4Auth(credentials, service, region or provider.region).add_auth(request)
        sent = {name: value for name, value in {**dict(request.headers), **(headers or {})}.items() if value}
        async with (
            aiohttp.ClientSession() as session,
            session.post(provider.base_url + path, data=content, headers=sent) as response,
        ):
            return response.status, response.headers.get("x-amzn-ErrorType", "").partition(":")[0]

    return send


async def test_a_good_mail_is_taken(provider, post):
    assert await post() == (200, "")
    assert provider.taken[0].id == "1"


def changed(**fields):
    return {name: value for name, value in {**MAIL, **fields}.items() if value is not None}


def simple(**fields):
    return changed(Content={"Simple": {**MAIL["Content"]["Simple"], **fields}})


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"{",
        b"[]",
        changed(Content=None),
        changed(FromEmailAddress=None),
        changed(FromEmailAddress="Brand"),
        changed(FromEmailAddress="żaba@brand.example"),
        changed(Destination={}),
        changed(Destination={"ToAddresses": ["a@b.example"] * 51}),
        changed(Destination={"ToAddresses": ["no address"]}),
        changed(Unknown=1),
        changed(EmailTags=[{"Name": "a.b", "Value": "1"}]),
        changed(EmailTags=[{"Name": "a", "Value": "1.2"}]),
        changed(EmailTags=[{"Name": "a", "Value": "x" * 257}]),
        changed(EmailTags=[{"Name": "a", "Value": "1"}] * 2),
        simple(Subject={"Data": "Привет"}),
        simple(Subject={"Data": "a\nBcc: b"}),
        simple(Body={}),
        simple(Body={"Text": {"Data": "Привет"}}),
        simple(Body={"Text": {"Data": "Hello", "Charset": "none"}}),
        simple(Headers=[{"Name": "X-A", "Value": "1"}] * 16),
        simple(Headers=[{"Name": "X A", "Value": "1"}]),
        simple(Headers=[{"Name": "X-A", "Value": "ж"}]),
        simple(Headers=[{"Name": "X-A", "Value": "x" * 996}]),
    ],
)
async def test_a_bad_mail_is_refused(provider, post, mail):
    assert await post(mail) == (400, "BadRequestException")
    assert provider.taken == []


async def test_an_unknown_configuration_set_is_refused(post):
    assert await post(changed(ConfigurationSetName="other")) == (404, "NotFoundException")


async def test_another_path_is_refused(post):
    assert await post(path="/v2/email/other") == (400, "UnknownOperationException")


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"key": "another"}, (403, "InvalidSignatureException")),
        ({"region": "us-east-1"}, (403, "InvalidSignatureException")),
        ({"service": "sns"}, (403, "InvalidSignatureException")),
        ({"headers": {"Authorization": None}}, (403, "MissingAuthenticationTokenException")),
        ({"headers": {"Authorization": "Basic YTpi"}}, (400, "IncompleteSignature")),
        ({"headers": {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}}, (400, "IncompleteSignature")),
        ({"headers": {"X-Amz-Date": "20200101T000000Z"}}, (400, "RequestExpired")),
        ({"headers": {"X-Amz-Date": "yesterday"}}, (400, "RequestExpired")),
        ({"headers": {"Content-Type": "text/plain"}}, (403, "InvalidSignatureException")),
        ({"headers": {"X-Amz-Security-Token": "x"}}, (403, "UnrecognizedClientException")),
    ],
)
async def test_a_wrong_signature_is_refused(provider, post, how, error):
    assert await post(**how) == error
    assert provider.taken == []


async def test_signed_headers_have_an_order(provider, post):
    names = "x-amz-date;host;content-type"
    authorization = f"AWS4-HMAC-SHA256 Credential=x, SignedHeaders={names}, Signature=x"
    assert await post(headers={"Authorization": authorization}) == (400, "IncompleteSignature")


async def test_a_changed_body_is_refused(provider, post):
    authorization = AWSRequest("POST", provider.base_url + PATH, data=b"{}")
    credentials = ReadOnlyCredentials(provider.access_key_id, provider.secret_access_key, None)
    SigV4Auth(credentials, "ses", provider.region).add_auth(authorization)
    headers = dict(authorization.headers)
    assert await post(headers=headers) == (403, "InvalidSignatureException")


async def test_the_topic_confirms_only_its_own(provider):
    token = provider.topic.subscription()["Token"]
    for query in ("", "Action=Publish", "Action=ConfirmSubscription&TopicArn=other&Token=x"):
        assert not provider.topic.confirm(query)
    assert not provider.topic.confirm(f"Action=ConfirmSubscription&TopicArn={provider.topic.arn}")
    assert provider.topic.confirm(f"Action=ConfirmSubscription&TopicArn={provider.topic.arn}&Token={token}")
    assert provider.topic.confirmed == [token]
