"""The syntax of merge fields, in plain text: what is filled, what stays, and what is refused and where."""

import pytest

from gatepost.merge_fields import fields
from gatepost.merge_fields.messages import MergeFields, UnusableTemplate, fill_sms
from gatepost.merge_fields.values import Values
from merge_fields.filling import filled, problem


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hello {{contact.first_name}}!", "Hello Ana!"),
        ("{{contact.first_name|there}}", "Ana"),
        ("{{ contact.first_name | there }}", "Ana"),
        ("{{\n\tcontact.first_name:upper}}", "ANA"),
        ("{{contact.first_name : upper | there}}", "ANA"),
        ("{{contact.city|the | city}}", "the | city"),
        ("{{contact.city|}}.", "."),
        ("{{contact.city}}.", "."),
        ("{{contact.city:upper|as it is}}", "as it is"),
        ("{{contact.blank|there}}", "there"),
        ("{{contact.first-name}}{{contact._x}}", "BoX"),
        ("{{{contact.first_name}}}", "{Ana}"),
    ],
)
def test_a_field_is_filled(source, text):
    attributes = {"first_name": "Ana", "blank": " \t ", "first-name": "Bo", "_x": "X"}
    assert filled(source, **attributes) == text
    assert filled(source, "html", **attributes) == text


@pytest.mark.parametrize(
    "source",
    ["{{name}}", "{{user.first_name}}", "{{contacts.x}}", "{{ Contact.x }}", "{{#if contact.x}}", "{contact.x}", "{{contact}}"],
)  # fmt: skip
def test_other_double_braces_stay(source):
    assert not fields.has_fields(source)
    assert filled(source) == filled(source, "html") == source


@pytest.mark.parametrize(
    ("source", "position", "words"),
    [
        ("Hello {{contact.first_name", 6, "does not end"),
        ("{{contact.a}} {{contact.b} {{contact.c}}", 14, "does not end"),
        ("{{contact.a|{{contact.b}}}}", 0, "does not end"),
        ("{{contact.}}", 0, "name of an attribute"),
        ("{{contact.first name}}", 0, "name of an attribute"),
        ("{{contact.naïve}}", 0, "name of an attribute"),
        ("{{contact.1st}}", 0, "name of an attribute"),
        ("{{contact." + "x" * 65 + "}}", 0, "name of an attribute"),
        ("{{contact.x:shout}}", 0, "no such filter"),
        ("{{contact.x:}}", 0, "no such filter"),
        ("{{contact.x:upper:lower}}", 0, "no such filter"),
        ("x {{contact.email}}", 2, "not attributes"),
        ("{{contact.Phone|none}}", 0, "not attributes"),
    ],
)
@pytest.mark.parametrize("kind", ["text", "subject", "html"])
def test_a_field_that_can_not_be_read_is_refused_with_its_place(kind, source, position, words):
    found, at = problem(source, kind)
    assert words in found
    assert at == position


@pytest.mark.parametrize("kind", ["text", "subject", "html"])
def test_too_many_fields_are_refused(kind):
    assert problem("{{contact.x}}" * 1_000, kind) is None
    assert problem("{{contact.x}}" * 1_001, kind) == ("there are more than 1,000 merge fields", 13_000)


def test_filters_of_a_missing_package_are_refused_by_name(monkeypatch):
    monkeypatch.setattr(fields, "_has_babel", lambda: False)
    assert "pip install '.[merge-fields]'" in problem("{{contact.born:date}}")[0]
    assert problem("{{contact.born:upper}}") is None


def test_a_message_waits_for_the_package_and_is_rejected_for_its_own_fault(monkeypatch):
    messages = MergeFields(["brand"])
    monkeypatch.setattr(fields, "_has_babel", lambda: False)
    with pytest.raises(UnusableTemplate) as waits:
        messages.read_sms("{{contact.born:date}}")
    with pytest.raises(UnusableTemplate) as rejected:
        messages.read_sms("{{contact.born:time}}")
    assert (waits.value.is_final, rejected.value.is_final) == (False, True)


def test_a_text_message_of_nothing_is_not_sent():
    template = MergeFields(["brand"]).read_sms("{{contact.code}} ")
    with pytest.raises(UnusableTemplate, match="is empty"):
        fill_sms(template, Values({}))


def test_the_text_without_its_fields():
    assert fields.without_fields("Hi {{contact.a|there}}, {{b}}{{contact.c") == "Hi , {{b}}"
