import json
import re
from base64 import b64encode
from email import policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.client import Client
from gatepost.content import EmailContent, SmsContent, decode_content, preview_recipient, preview_reference
from gatepost.errors import Code, Refused
from gatepost.intake import answers, client_policy, requests
from gatepost.model import Channel, Mailbox, Secret
from gatepost.routing.senders import sender_faults

EMAIL = {
    "ext_user_id": "u-1",
    "from_email_address": "Amazing <noreply@amazing.co>",
    "subject": "Hello",
    "body": "<p>Hello</p>",
    "email_uid": "e-1",
}
SMS = {"ext_user_id": "u-1", "body": "Hello", "im_uid": "s-1"}
FULL_EMAIL = EMAIL | {
    "reply_to_email_address": "help@amazing.co",
    "text_body": "Hello!",
    "callback_url": "https://x.smartico.ai/cb",
    "activity_type": "preview",
    "to_email_address": "boss@amazing.co",
}
FULL_SMS = SMS | {"from_number": "Amazing", "callback_url": "https://x.smartico.ai/cb"}
TABLES = [(Channel.EMAIL, EMAIL, FULL_EMAIL), (Channel.SMS, SMS, FULL_SMS)]


def email(**fields):
    return requests.decode(Channel.EMAIL, json.dumps(EMAIL | fields).encode())


def sms(**fields):
    return requests.decode(Channel.SMS, json.dumps(SMS | fields).encode())


def refusal(channel, body):
    with pytest.raises(Refused) as refused:
        requests.decode(channel, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert refused.value.code is Code.MALFORMED
    return refused.value.message


def client(**fields):
    return Client(authorization=(Secret("x"),), **fields)


def test_an_email():
    request = requests.decode(Channel.EMAIL, json.dumps(FULL_EMAIL).encode())
    assert (request.channel, request.ext_user_id, request.uid) == (Channel.EMAIL, "u-1", "e-1")
    assert request.sender == Mailbox("noreply@amazing.co", "Amazing")
    assert request.reply_to == Mailbox("help@amazing.co", "")
    assert (request.subject, request.html, request.text) == ("Hello", "<p>Hello</p>", "Hello!")
    assert request.callback_url == "https://x.smartico.ai/cb"
    assert request.preview_to == Secret("boss@amazing.co")


def test_an_sms():
    request = requests.decode(Channel.SMS, json.dumps(FULL_SMS).encode())
    assert (request.channel, request.ext_user_id, request.uid) == (Channel.SMS, "u-1", "s-1")
    assert (request.sender, request.text, request.callback_url) == (
        "Amazing",
        "Hello",
        "https://x.smartico.ai/cb",
    )


@pytest.mark.parametrize("value", ["absent", None, ""])
def test_null_and_empty_mean_absent(value):
    for channel, table, full in TABLES:
        optional = {name: value for name in full if name not in table and value != "absent"}
        request = requests.decode(channel, json.dumps(table | optional).encode())
        assert request == requests.decode(channel, json.dumps(table).encode())
        assert not request.callback_url
    assert (email().reply_to, email().text, email().preview_to, sms().sender) == (None, "", None, None)


@pytest.mark.parametrize(("channel", "table", "full"), TABLES)
def test_each_missing_required_field_is_named(channel, table, full):
    for name in table:
        rest = {key: value for key, value in full.items() if key != name}
        assert refusal(channel, rest).startswith(f"{name} is missing")
        assert refusal(channel, rest | {name: None}).startswith(f"{name} is missing")
        if name != "subject":
            assert refusal(channel, rest | {name: ""}) == f"{name} is empty"
    assert email(subject="").subject == ""


NUMERIC = {"ext_user_id", "email_uid", "im_uid", "from_number"}


@pytest.mark.parametrize("value", [1.5, 2.0, True, [], {}, ["x"], {"a": "sesame"}, 1e40])
@pytest.mark.parametrize(("channel", "table", "full"), TABLES)
def test_each_field_is_a_text(channel, table, full, value):
    for name in full:
        expected = "a text or a whole number" if name in NUMERIC else "a text"
        assert refusal(channel, full | {name: value}) == f"{name} must be {expected}"


@pytest.mark.parametrize("value", [0, 42, -1, 10**31])
@pytest.mark.parametrize(("channel", "table", "full"), TABLES)
def test_a_number_stands_for_its_digits_where_allowed(channel, table, full, value):
    for name in full:
        if name not in NUMERIC:
            assert refusal(channel, full | {name: value}) == f"{name} must be a text"
            continue
        from_number, from_text = (
            requests.decode(channel, json.dumps(full | {name: one}).encode()) for one in (value, str(value))
        )
        assert from_number == from_text
        assert from_number.fingerprint == from_text.fingerprint


@pytest.mark.parametrize(
    "extra",
    ["1e999", "9" * 5000, "[[[]]]", "null", '{"ext_user_id": 1}', '"\\u0000"', "-0.0", '"😀"', "true"],
)
def test_unknown_fields_are_ignored(extra):
    body = json.dumps(SMS)[:-1] + f', "new": {extra}, "Body": {extra}, "": {extra}}}'
    assert requests.decode(Channel.SMS, body.encode()) == sms()


NOT_JSON = {
    "nothing": b"",
    "blank": b"  ",
    "a word": b"hello",
    "a form": b"ext_user_id=1&body=2",
    "NaN": b'{"body": NaN}',
    "single quotes": b"{'body': 'x'}",
    "a comment": b"{/* */}",
    "a comma": b'{"body": "x",}',
    "two values": b"{} {}",
    "cut off": json.dumps(SMS).encode()[:-5],
    "UTF-16": json.dumps(SMS).encode("utf-16"),
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "a raw NUL": b'{"body": "\0"}',
    "a raw newline": b'{"body": "\n"}',
    "a lone high surrogate": rb'{"body": "\ud800"}',
    "a lone low surrogate": rb'{"body": "\udc00 and more"}',
    "a high surrogate and no pair": rb'{"body": "\ud800\u0041 and more"}',
    "surrogates the wrong way round": rb'{"body": "\udc00\ud800 and more"}',
    "a surrogate in an unknown field": rb'{"new": "\udfff and more"}',
    "a surrogate in a name": rb'{"\ud800 and more": "x"}',
    "deep objects": b'{"a":' * 100_000,
    "deep in an unknown field": b'{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in a known field": b'{"body":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}
NOT_UTF8 = {
    "in a field": b'{"body": "\xff"}',
    "in an unknown field": b'{"new": "\xff"}',
    "in a name": b'{"\xff": "x"}',
    "an encoded surrogate": b'{"body": "\xed\xa0\x80"}',
    "overlong": b'{"body": "\xc0\x80"}',
    "Latin-1": '{"body": "é"}'.encode("latin-1"),
    "cut off": '{"body": "é'.encode()[:-1],
}


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_invalid_json_is_refused(channel, body):
    assert refusal(channel, body) in {"the body is not JSON", "the body is not UTF-8"}


@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("body", NOT_UTF8.values(), ids=NOT_UTF8)
def test_invalid_utf8_is_refused(channel, body):
    assert refusal(channel, body) == "the body is not UTF-8"


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[]", b"null", b'"x"', b"1", b"true", b"[{}]"])
def test_json_other_than_an_object_is_refused(body):
    assert refusal(Channel.SMS, body) == "the body must be a JSON object"


def test_a_byte_order_mark_is_skipped():
    assert requests.decode(Channel.SMS, b"\xef\xbb\xbf" + json.dumps(SMS).encode()) == sms()


@pytest.mark.parametrize("first", ['"other"', "null", "1", "[]", '""'])
def test_the_last_of_two_fields_with_one_name_counts(first):
    body = f'{{"body": {first}, "im_uid": {first}, ' + json.dumps(SMS)[1:]
    assert requests.decode(Channel.SMS, body.encode()) == sms()
    assert refusal(Channel.SMS, (json.dumps(SMS)[:-1] + ', "body": 1}').encode()) == "body must be a text"


@pytest.mark.parametrize("text", ["\0", "a\0", "\0b", "ä\0", "—\0—", "😀\0"])
@pytest.mark.parametrize(("channel", "table", "full"), TABLES)
def test_nul_is_refused_everywhere(channel, table, full, text):
    for name in full:
        assert refusal(channel, full | {name: text}) == f"{name} must not contain NUL"


def test_an_escaped_backslash_before_u0000_is_text():
    assert sms(body="\\u0000").text == "\\u0000"


@pytest.mark.parametrize(("channel", "table", "full"), TABLES)
def test_ids_have_a_maximum_length(channel, table, full):
    for name in ("ext_user_id", "email_uid" if channel is Channel.EMAIL else "im_uid"):
        requests.decode(channel, json.dumps(table | {name: "x" * 512}).encode())
        assert refusal(channel, table | {name: "😀" * 513}) == f"{name} is longer than 512 characters"


def test_header_fields_have_a_maximum_length():
    assert email(subject="x" * 998).subject == "x" * 998
    assert "998" in refusal(Channel.EMAIL, EMAIL | {"subject": "x" * 999})
    assert "998" in refusal(Channel.EMAIL, EMAIL | {"from_email_address": "x" * 998 + "<a@b.co>"})
    assert "32" in refusal(Channel.SMS, SMS | {"from_number": "1" * 33})
    assert "320" in refusal(
        Channel.EMAIL, EMAIL | {"activity_type": "x", "to_email_address": "x" * 320 + "@b.co"}
    )


@pytest.mark.parametrize(
    ("text", "address", "name"),
    [
        ("noreply@amazing.co", "noreply@amazing.co", ""),
        (" noreply@amazing.co ", "noreply@amazing.co", ""),
        ("<noreply@amazing.co>", "noreply@amazing.co", ""),
        ("Amazing <noreply@amazing.co>", "noreply@amazing.co", "Amazing"),
        ("Amazing<noreply@amazing.co> ", "noreply@amazing.co", "Amazing"),
        ("Amazing, Inc <noreply@amazing.co>", "noreply@amazing.co", "Amazing, Inc"),
        ('"Amazing, Inc" <noreply@amazing.co>', "noreply@amazing.co", "Amazing, Inc"),
        (r'"The \"A\" \\ Co" <noreply@amazing.co>', "noreply@amazing.co", r'The "A" \ Co'),
        ('"Half <noreply@amazing.co>', "noreply@amazing.co", '"Half'),
        ("Ünïcode 🎉 <noreply@amazing.co>", "noreply@amazing.co", "Ünïcode 🎉"),
        ("a@b.co <noreply@amazing.co>", "noreply@amazing.co", "a@b.co"),
        ("X <a@b.co> <noreply@amazing.co>", "noreply@amazing.co", "X <a@b.co>"),
        ("X <<noreply@amazing.co>", "noreply@amazing.co", "X <"),
        ("NoReply@AMAZING.Co", "NoReply@amazing.co", ""),
        ("no+reply.x@mail.amazing.co", "no+reply.x@mail.amazing.co", ""),
        ("noreply@bücher.example", "noreply@xn--bcher-kva.example", ""),
        ("noreply@amazing.test", "noreply@amazing.test", ""),
        ("=?utf-8?q?Hi?= <noreply@amazing.co>", "noreply@amazing.co", "=?utf-8?q?Hi?="),
    ],
)
def test_a_sender(text, address, name):
    assert email(from_email_address=text).sender == Mailbox(address, name)
    assert email(reply_to_email_address=text).reply_to == Mailbox(address, name)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "@",
        "a@",
        "@b.co",
        "a@b@c.co",
        "a b@c.co",
        "a@b co",
        "a@.co",
        "a@b..co",
        ".a@b.co",
        "a@-b.co",
        "<>",
        " ",
        "<a@b.co",
        "a@b.co>",
        "X <>",
        "X <a@b.co> y",
        "X <a@b.co>>",
        "X <Y <a@b.co>>",
        "a@b.co,c@d.co",
        "a@b.co; c@d.co",
        '"a b"@c.co',
        "a@[127.0.0.1]",
        "a@b.co (x)",
        "mailto:a@b.co",
        "ä@amazing.co",
        "a,b@c.co",
        "X <ä@amazing.co>",
        "a" * 65 + "@b.co",
        "a@" + "b." * 130 + "co",
        "a:b@c.co",
        "a@b_c.co",
        "a@b.co\u200b",
    ],
)
def test_an_invalid_sender_is_refused(text):
    for name in ("from_email_address", "reply_to_email_address"):
        message = refusal(Channel.EMAIL, EMAIL | {name: text})
        assert message.startswith(f"{name} ")
        assert not re.search(r"\S@\S", message)


BREAKS = [
    "\r\n",
    "\n",
    "\r",
    "\t",
    "\x0b",
    "\x0c",
    "\x1b",
    "\x1c",
    "\x7f",
    "\x80",
    "\x85",
    "\u2028",
    "\u2029",
]


def words(text):
    """Yield the text as RFC 2047 encoded words in every form that some mail reader decodes."""
    quoted = "".join(f"={byte:02x}" for byte in text.encode())
    plain = b64encode(text.encode()).decode()
    wide = b64encode(text.encode("utf-16-be")).decode()
    shifted = b64encode(text.encode("utf-7")).decode()
    yield f"=?utf-8?q?{quoted}?="
    yield f"=?UTF-8?Q?Hi{quoted.upper()}?="
    yield f"x =?utf-8?q?ok?= =?utf-8?Q?_{quoted}_?= y"
    yield f"=?utf-8*en?q?{quoted}?="
    yield f"=?utf-8?q? {quoted} ?="
    yield f"=?utf-8?b?{plain}?="
    yield f"=?utf-8?B?{plain.rstrip('=')}?="
    yield f"=?utf-8?B? {plain} ?="
    yield f"=?utf-16-be?b?{wide}?="
    yield f"=?utf-7?b?{shifted}?="
    yield f"=?utf-8?b?{b64encode(f'=?utf-8?q?{quoted}?='.encode()).decode()}?="
    if text.isascii():
        yield f"=?nonsense?q?{quoted}?="
        yield f"=??q?{quoted}?="


@pytest.mark.parametrize("text", BREAKS, ids=ascii)
def test_control_characters_in_headers_are_refused(text):
    for attack in (text, f"Hi{text}Bcc: x", *words(text), *words(f"Hi{text}Bcc: x")):
        for fields in (
            {"subject": attack},
            {"from_email_address": f"{attack} <noreply@amazing.co>"},
            {"from_email_address": f'"{attack}" <noreply@amazing.co>'},
            {"reply_to_email_address": f"x {attack} <noreply@amazing.co>"},
        ):
            assert "control characters" in refusal(Channel.EMAIL, EMAIL | fields), fields
    for fields in (
        {"from_email_address": f"no{text}reply@b.co"},
        {"reply_to_email_address": f"a@b.co{text}"},
    ):
        refusal(Channel.EMAIL, EMAIL | fields)
    assert "control characters" in refusal(Channel.SMS, SMS | {"from_number": f"+447{text}"})


def test_an_encoded_word_in_a_quoted_name_is_refused():
    refusal(Channel.EMAIL, EMAIL | {"from_email_address": r'"=\?utf-8?q?=0a?=" <noreply@amazing.co>'})


@given(st.text(alphabet=st.sampled_from("=?utf-8qQbB_0aAdD\r\n 3Dx*"), max_size=40))
def test_accepted_subjects_stay_one_header_in_the_standard_library(text):
    """A mail with this subject is built and serialised (CVE-2024-6923)."""
    try:
        subject = email(subject=text).subject
    except Refused:
        return
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = subject
    assert message.keys() == ["Subject"]
    lines = message.as_bytes().split(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(line.startswith((b"Subject:", b" ", b"\t")) or not line for line in lines)


@pytest.mark.parametrize(
    "subject",
    [
        "=?",
        "?=",
        "=?=",
        "what=?",
        "=?utf-8?q??=",
        "=?utf-8?q?=C3=A9?=",
        "=?utf-8?b?w6k=?=",
        "=?x?b?A?=",
        "=?x?x?=0a?=",
        "100 % =0A",
        "été 🎉 \u200d\xa0",
        "=?iso-2022-jp?b?GyRCJDIbKEI=?=",
        "=?utf-8?q?=E4=B8=80=C2?=",
    ],
)
def test_harmless_subjects_are_accepted(subject):
    if "2022" in subject:  # a reader that does not know the charset takes its escapes for control characters
        assert "control" in refusal(Channel.EMAIL, EMAIL | {"subject": subject})
    else:
        assert email(subject=subject).subject == subject


def test_a_preview_needs_both_its_fields():
    for name in ("activity_type", "to_email_address"):
        message = refusal(Channel.EMAIL, EMAIL | {name: "boss@amazing.co"})
        assert "activity_type and to_email_address" in message
        assert "boss" not in message


def test_the_fingerprint_covers_the_whole_content():
    for channel, table, full in TABLES:
        prints = {requests.decode(channel, json.dumps(table).encode()).fingerprint}
        for name in full:
            changed = requests.decode(
                channel,
                json.dumps(full | {name: "https://y" if "url" in name else "b@c.co"}).encode(),
            )
            prints.add(changed.fingerprint)
        whole = requests.decode(channel, json.dumps(full).encode()).fingerprint
        assert whole in prints  # callback_url is not part of the content
        assert len(prints) == len(full) + 1


def test_a_differently_written_repeat_has_the_same_fingerprint():
    plain = email(subject="Größe 🎉", text_body="").fingerprint
    again = {"new": [1], **EMAIL, "subject": "Größe 🎉", "text_body": None, "callback_url": "https://other"}
    spaced = json.dumps(dict(reversed(again.items())), ensure_ascii=False, indent=2).encode()
    assert requests.decode(Channel.EMAIL, spaced).fingerprint == plain


def test_the_fingerprint_separates_fields():
    assert sms(ext_user_id="ab", body="c").fingerprint != sms(ext_user_id="a", body="bc").fingerprint
    assert sms(from_number="x", body="y").fingerprint != sms(body="xy").fingerprint
    assert email(text_body="x").fingerprint != email(reply_to_email_address="x@y.zz").fingerprint


def test_the_fingerprint_never_changes():
    """It is stored: after a change, every repeat of a message accepted earlier would be answered with 9."""
    assert email().fingerprint.hex() == "f310207d88676d32e819ff072ece9250d110fe1b1d51fdfc6ecb322c05e742b7"
    assert sms().fingerprint.hex() == "333d9bf88e0ee2878cbe98d18ed364ed15226b02cb06eed35475bae344f12110"


def test_stored_content_can_be_decoded_and_names_no_user():
    request = requests.decode(Channel.EMAIL, json.dumps(FULL_EMAIL | {"ext_user_id": "sesame"}).encode())
    data = requests.stored_content(request)
    assert decode_content(Channel.EMAIL, data) == EmailContent(
        sender=request.sender,
        reply_to=request.reply_to,
        subject=request.subject,
        html=request.html,
        text=request.text,
    )
    assert b"sesame" not in data
    assert b"boss" not in data
    for message in (sms(), sms(from_number="Amazing", body="ä🎉")):
        assert decode_content(Channel.SMS, requests.stored_content(message)) == SmsContent(
            sender=message.sender, text=message.text
        )
    with pytest.raises(ValueError):
        decode_content(Channel.EMAIL, b"nonsense")


def test_no_repr_shows_content():
    request = requests.decode(Channel.EMAIL, json.dumps(FULL_EMAIL).encode())
    content = decode_content(Channel.EMAIL, requests.stored_content(request))
    assert repr(request) + repr(sms()) + repr(content) == "<EmailRequest><SmsRequest><EmailContent>"


SENDERS = ("noreply@Amazing.co", "@brand.example", "news@bücher.example", "@BÜCHER.test")


@pytest.mark.parametrize(
    "sender",
    [
        "noreply@amazing.co",
        "A <noreply@AMAZING.CO>",
        "x@brand.example",
        "Y@Brand.Example",
        "news@xn--bcher-kva.example",
        "news@Bücher.example",
        "x@bücher.test",
    ],
)
def test_a_permitted_sender(sender):
    client_policy.check_sender(client(email_senders=SENDERS), email(from_email_address=sender))
    client_policy.check_sender(client(), email(from_email_address=sender))


@pytest.mark.parametrize(
    "sender",
    [
        "other@amazing.co",
        "NOREPLY@amazing.co",
        "x@sub.brand.example",
        "x@brand.example.co",
        "x@xbrand.example",
        "noreply@amazing.co.evil.example",
        "noreply@amazing.co <x@evil.example>",
        "other@bücher.example",
    ],
)
def test_a_sender_outside_the_list_is_refused(sender):
    request = email(from_email_address=sender, reply_to_email_address="noreply@amazing.co")
    with pytest.raises(Refused) as refused:
        client_policy.check_sender(client(email_senders=SENDERS), request)
    assert refused.value.code is Code.SENDER_REFUSED
    assert "@" not in refused.value.message


def test_a_list_without_a_usable_entry_permits_no_sender():
    entries = ("amazing.co", "@", "")
    with pytest.raises(Refused):
        client_policy.check_sender(client(email_senders=entries), email())
    assert len(sender_faults(entries)) == 3
    assert sender_faults(SENDERS) == []


def test_sms_senders_are_compared_exactly():
    strict = client(sms_senders=("Amazing",))
    for sender in (None, "", "Amazing"):
        client_policy.check_sender(strict, sms(from_number=sender))
    client_policy.check_sender(client(), sms(from_number="+447700900123"))
    for sender in ("amazing", "Amazing ", "+447700900123"):
        with pytest.raises(Refused) as refused:
            client_policy.check_sender(strict, sms(from_number=sender))
        assert refused.value.code is Code.SENDER_REFUSED


LISTED = (Secret("boss@amazing.co"), Secret("Chef@Amazing.co"))


def preview(address):
    return email(activity_type="preview", to_email_address=address)


def test_previews_go_to_exactly_the_listed_addresses():
    brand = client(preview_recipients=LISTED)
    client_policy.check_preview(client(), email())
    client_policy.check_preview(client(), sms())
    for address in LISTED:
        client_policy.check_preview(brand, preview(address.reveal()))
    for address in (
        "Boss@amazing.co",
        "boss@amazing.co ",
        "boss@amazing.co,x@y.zz",
        "x@y.zz",
        "<boss@amazing.co>",
    ):
        for one in (brand, client()):
            with pytest.raises(Refused) as refused:
                client_policy.check_preview(one, preview(address))
            assert refused.value.code is Code.PREVIEW_REFUSED
            assert "@" not in refused.value.message


def test_a_preview_reference_finds_its_entry_and_reveals_nothing():
    brand = client(preview_recipients=LISTED)
    references = {preview_reference(message, address) for message in "ab" for address in LISTED}
    assert len(references) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", reference) for reference in references)
    for address in LISTED:
        reference = preview_reference("a", address)
        assert preview_recipient(brand, "a", reference) == address
        assert preview_recipient(brand, "b", reference) is None
        assert preview_recipient(client(), "a", reference) is None


def test_the_answers():
    assert json.loads(answers.accepted("0c0f-1")) == {"error_code": 0, "ext_message_id": "0c0f-1"}
    error = Refused(Code.MALFORMED, 'say "no" – é')
    assert json.loads(answers.refused(error)) == {"error_code": 5, "error_message": 'say "no" – é'}


@given(st.binary(max_size=300), st.sampled_from(Channel))
def test_any_bytes_are_a_request_or_malformed(body, channel):
    with pytest.raises(Refused):
        requests.decode(channel, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def decoded(body):
    try:
        return requests.decode(Channel.EMAIL, body)
    except Refused as error:
        if error.code is Code.MALFORMED and error.message.isascii():
            return None
        raise


@given(st.dictionaries(st.sampled_from(sorted(FULL_EMAIL)), json_values))
def test_any_table_is_a_request_or_malformed(fields):
    request = decoded(json.dumps(EMAIL | fields).encode())
    assert request is None or request.html == fields.get("body", EMAIL["body"])


@given(st.data())
def test_a_request_with_a_few_wrong_bytes_is_a_request_or_malformed(data):
    body = bytearray(json.dumps(FULL_EMAIL).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    request = decoded(bytes(body))
    assert (
        request is None
        or decode_content(Channel.EMAIL, requests.stored_content(request)).html == request.html
    )
