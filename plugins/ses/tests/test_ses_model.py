"""Plugin and emulator against AWS's own model of the service, and botocore's client as the oracle."""

import asyncio

import botocore.session
import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from gatepost.model import Email, Mailbox, Secret
from gatepost_ses.messages import mail_body
from gatepost_ses.refusals import REFUSALS
from gatepost_ses.testing import mail_rules
from gatepost_ses.testing.emulator import ERROR_STATUSES


@pytest.fixture(scope="module")
def model():
    return botocore.session.Session().get_service_model("sesv2", "2019-09-27")


def operations(model):
    return [model.operation_model(name) for name in ("SendEmail", "GetAccount")]


def test_every_error_of_the_model_has_a_meaning(model):
    errors = {shape.name for operation in operations(model) for shape in operation.error_shapes}
    assert len(errors) >= 8
    assert errors <= REFUSALS.keys()


def test_the_emulator_answers_errors_with_the_model_s_statuses(model):
    for operation in operations(model):
        for shape in operation.error_shapes:
            status = shape.metadata["error"]["httpStatusCode"]
            assert ERROR_STATUSES.get(shape.error_code, 400) == status


def test_the_paths_are_the_model_s(model):
    paths = [(one.http["method"], one.http["requestUri"]) for one in operations(model)]
    assert paths == [("POST", "/v2/email/outbound-emails"), ("GET", "/v2/email/account")]
    assert model.signing_name == "ses"
    assert (model.endpoint_prefix, model.signature_version) == ("email", "v4")


def test_the_emulator_s_mail_has_the_model_s_fields(model):
    """Whatever the emulator takes, the model has: under the same name, with the same limits."""

    def compare(struct, shape):
        hints = msgspec.inspect.type_info(struct)
        for field in hints.fields:
            member = shape.members[field.encode_name]
            kinds = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
            for kind in kinds:
                if isinstance(kind, msgspec.inspect.StructType):
                    compare(kind.cls, member)
                elif isinstance(kind, msgspec.inspect.ListType):
                    assert member.type_name == "list"
                    limit = member.metadata.get("max")
                    assert limit is None or kind.max_length == limit
                    if isinstance(kind.item_type, msgspec.inspect.StructType):
                        compare(kind.item_type.cls, member.member)
                elif isinstance(kind, msgspec.inspect.StrType):
                    assert member.type_name == "string"
        for name in shape.required_members:
            assert any(field.encode_name == name and field.required for field in hints.fields)

    compare(mail_rules.Mail, model.operation_model("SendEmail").input_shape)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)
mailboxes = st.builds(Mailbox, st.sampled_from(["news@brand.example", "x+y@a.example"]), texts)
headers = {
    "List-Unsubscribe": "<https://brand.example/u/7>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}


@given(
    sender=mailboxes,
    reply_to=st.none() | mailboxes,
    subject=texts,
    text=texts,
    html=texts.filter(bool),
    headers=st.sampled_from([{}, headers]),
    tags=st.sampled_from([(), ("brand",), ("brand.one", "news.2")]),
    configuration_set=st.sampled_from(["", "reports"]),
)
def test_every_request_is_valid_by_the_model_and_the_emulator(
    model, sender, reply_to, subject, text, html, headers, tags, configuration_set
):
    message = Email(
        id="0b9f4d3c-8a52-4c1e-9d47-1f2e3a4b5c6d",
        recipient=Secret("canary.4711@mail.example"),
        sender=sender,
        reply_to=reply_to,
        subject=subject,
        html=html,
        text=text,
        lifetime=60.0,
        headers=headers,
        tags=tags,
    )
    body = mail_body(message, configuration_set)
    report = ParamValidator().validate(
        msgspec.json.decode(body), model.operation_model("SendEmail").input_shape
    )
    assert report.generate_report() == ""
    mail = mail_rules.read_mail(body)
    name, address = mail_rules.name_and_address(mail.from_email_address)
    assert address == sender.address
    assert name.split() == sender.name.split()


@pytest.fixture
def client(provider):
    return botocore.session.Session().create_client(
        "sesv2",
        region_name=provider.region,
        endpoint_url=provider.base_url,
        aws_access_key_id=provider.access_key_id,
        aws_secret_access_key=provider.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


async def test_botocore_s_client_sends_the_same_request(provider, plugin, client, email):
    message = email(tags=("brand", "news"), headers=headers, reply_to=Mailbox("help@brand.example", "Help"))
    await plugin.send_email(message)
    fields = msgspec.json.decode(mail_body(message, "reports"))
    answer = await asyncio.to_thread(lambda: client.send_email(**fields))
    ours, theirs = provider.taken
    assert theirs.message == ours.message
    assert answer["MessageId"] == theirs.provider_id
    assert provider.requests[0] == provider.requests[1]
    scopes = [taken.headers["Authorization"].partition(",")[0] for taken in provider.taken]
    assert scopes[0] == scopes[1]


async def test_botocore_s_client_reads_the_account(provider, client):
    account = await asyncio.to_thread(client.get_account)
    assert account["SendingEnabled"] is True
    assert account["ProductionAccessEnabled"] is True


@pytest.mark.parametrize("code", ["TooManyRequestsException", "MessageRejected", "NotFoundException"])
async def test_botocore_s_client_reads_the_emulator_s_errors(provider, client, code):
    provider.error_code = code
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(client.get_account)
    assert caught.value.response["Error"]["Code"] == code
