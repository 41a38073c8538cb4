"""The values of merge fields: cleaned, filtered, and escaped for where they stand."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.delivery.html_text import conversion
from gatepost.merge_fields import formats
from gatepost.merge_fields import values as values_module
from gatepost.merge_fields.fields import CASES, FORMATS
from gatepost.merge_fields.values import TooLong, Values
from merge_fields.filling import READERS, at_once, filled, problem


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Ana\r\nBcc: all@example.com", "Ana Bcc: all@example.com"),
        ("\x00\x1b[31mAna\x7f\x85", "[31mAna"),
        ("Ana\u2028Bo", "Ana Bo"),
        ("\u202eanA\u2066", "anA"),
        ("half \ud83d", "half \ufffd"),
        ("{\u200b{\ufdd0x}\xad}", " { {x} } "),
        ("[[x]] 50%%", "[ [x] ] 50% %"),
        ("=1+1", "=1+1"),
        ("{{contact.secret}}", " { {contact.secret} } "),
        ("a {% b %} *|EMAIL|* c", "a { % b % } * |EMAIL| * c"),
        ("50 % | 100%", "50 % | 100%"),
        ("ليلى אב نیم\u200cفاصله 👩\u200d💻", "ليلى אב نیم\u200cفاصله 👩\u200d💻"),
    ],
)
@pytest.mark.parametrize("kind", ["text", "subject", "html"])
def test_a_value_is_one_line_of_text_and_stays_that(kind, value, shown):
    assert filled("{{contact.x}}", kind, x=value, secret="never") == shown


def test_a_value_can_not_become_an_encoded_word():
    assert filled("{{contact.x}}", "subject", x="=?utf-8?q?=0D=0ABcc:?=") == "= ?utf-8?q?=0D=0ABcc:?="
    assert filled("Bonus ={{contact.x}}", "subject", x="?utf-8?q?You?=") == "Bonus = ?utf-8?q?You?="


@pytest.mark.parametrize(
    ("source", "value", "shown"),
    [
        ("{{{contact.x}}}", "{name}", "{ {name} }"),
        ("{{{contact.x}}}", "%name%", "{ %name% }"),
        ("*{{contact.x}}*", "|NAME|", "* |NAME| *"),
        ("[{{contact.x}}]", "[name]", "[ [name] ]"),
        ("{{contact.x}}{{contact.y}}", "*", "* |Y|"),
        ("*{{contact.x}}*: {{contact.x}}%", "50%", "*50% *: 50% %"),
        ("*{{contact.x}}{{contact.none}}*", "", "**"),
        ("https://a.example/*{{contact.x}}", "é", "https://a.example/*%C3%A9"),
    ],
)
def test_a_value_is_no_template_with_what_stands_beside_it(source, value, shown):
    assert filled(source, x=value, y="|Y|") == shown


@pytest.mark.parametrize("mark", ["\u200b", "\u2060", "\xad", "\ufdd0", "\u034f", "\u1160"])
def test_a_value_is_no_template_in_the_text_that_is_derived_from_its_html(mark):
    """Characters that are not shown are left out there."""
    html = filled("<p>{{contact.x}}", "html", x=f"*{mark}|NAME|{mark}*")
    assert at_once(conversion(html)) == "* |NAME| *"


@pytest.mark.parametrize("dots", [".", ".."])
def test_a_value_does_not_lead_a_link_to_another_folder(dots):
    assert filled('<a href="https://b.example/u/{{contact.x|1}}/o">', "html", x=dots) == (
        '<a href="https://b.example/u/1/o">'
    )
    assert filled("{{contact.x}}", x=dots) == dots


def test_values_that_a_filter_has_changed_are_told():
    values = Values({"x": "ana", "born": "1990-12-31"})
    values.fill(READERS["text"]("{{contact.x}} {{contact.x:upper}} {{contact.born:date}}"), 99)
    assert values.changed == {"ANA", "December 31, 1990"}


def test_a_value_that_is_too_long_is_not_filtered_first(monkeypatch):
    monkeypatch.setattr(values_module, "with_case", None)
    with pytest.raises(TooLong):
        Values({"x": "a" * 999}).fill(READERS["subject"]("{{contact.x:title}}"), 998)
    assert filled("{{contact.x:date|no date}}", x="1" * 65) == "no date"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("请访问https://a.example/,{{contact.x}}您好", "请访问https://a.example/,张伟您好"),
        ("请访问https://a.example/，{{contact.x}}您好", "请访问https://a.example/，张伟您好"),
        ("(https://a.example/),{{contact.x}}", "(https://a.example/),张伟"),
        ("请访问https://a.example，{{contact.x}}", "请访问https://a.example，张伟"),
        ("https://пример.рф/?n={{contact.x}}", "https://пример.рф/?n=%E5%BC%A0%E4%BC%9F"),
        ("https://пример.рф/ {{contact.x}}", "https://пример.рф/ 张伟"),
        ("https://a.example/?n={{contact.x}}&m={{contact.x}}", "https://a.example/?n=%E5%BC%A0%E4%BC%9F&m=%E5%BC%A0%E4%BC%9F"),
    ],
)  # fmt: skip
def test_a_url_in_plain_text_ends_where_one_ends(source, shown):
    assert filled(source, x="张伟") == shown


@pytest.mark.parametrize(
    "source",
    [
        "https://a.example{{contact.x}}",
        "https://{{contact.x}}.example/",
        "https://пример.рф{{contact.x}}",
        "https://пример.{{contact.x}}/",
    ],
)
def test_in_plain_text_too_no_value_decides_where_a_link_leads(source):
    assert problem(source, "text")[0] == "a merge field may stand in a URL only after https://HOST/"


@pytest.mark.parametrize(
    ("kind", "source", "text"),
    [
        ("html", "<p>{{contact.x}}</p>", "<p>a&amp;b &lt;i&gt; &quot;&#x27;</p>"),
        ("html", "<i title='{{contact.x}}'>", "<i title='a&amp;b &lt;i&gt; &quot;&#x27;'>"),
        ("html", '<a href="https://a.example/?n={{contact.x}}">', '<a href="https://a.example/?n=a%26b%20%3Ci%3E%20%22%27">'),
        ("html", "{{contact.no|R&amp;D &lt;3 &eacute;}}", "R&amp;D &lt;3 é"),
        ("html", '<img alt="{{contact.no|a&copy=b}}">', '<img alt="a&amp;copy=b">'),
        ("text", "{{contact.x}}", "a&b <i> \"'"),
        ("text", "see https://a.example/?n={{contact.x}} now", "see https://a.example/?n=a%26b%20%3Ci%3E%20%22%27 now"),
        ("text", "https://a.example/ {{contact.x}}", "https://a.example/ a&b <i> \"'"),
        ("text", "(https://a.example/{{contact.y}}/{{contact.y}} {{contact.y}}", "(https://a.example/%C3%BC%20/%C3%BC%20 ü "),
        ("text", "https://a.example/{{contact.y}}\n{{contact.y}}", "https://a.example/%C3%BC%20\nü "),
        ("subject", "https://a.example/{{contact.x}}", "https://a.example/a&b <i> \"'"),
    ],
)  # fmt: skip
def test_a_value_is_escaped_for_where_it_stands(kind, source, text):
    assert filled(source, kind, x="a&b <i> \"'", y="ü") == text.replace("%C3%BC%20", "%C3%BC").replace(
        "ü ", "ü"
    )


@pytest.mark.parametrize(
    ("used", "value", "language", "shown"),
    [
        ("upper", "straße", "de", "STRASSE"),
        ("upper", "inci", "tr-TR", "İNCİ"),
        ("upper", "inci", "trv", "INCI"),
        ("lower", "IŞIK İNCİ", "tr", "ışık inci"),
        ("lower", "İNCİ", "", "inci"),
        ("title", "anna-maria o'NEIL van der BERG", "", "Anna-Maria O'Neil Van Der Berg"),
        ("title", "ilker", "az", "İlker"),
        ("title", "ǆemal", "", "ǅemal"),
        ("capitalize", "hELLO World", "en", "Hello world"),
        ("date", "1990-12-31", "en", "December 31, 1990"),
        ("date", "1990-12-31T23:30:00+02:00", "en-GB", "31 December 1990"),
        ("date", "1990-12-31", "de_AT", "31. Dezember 1990"),
        ("date", "1990-12-31", "", "December 31, 1990"),
        ("date", "1990-12-31", "xx-nonsense", "December 31, 1990"),
        ("date", "1990-12-31", "pt-XX", "31 de dezembro de 1990"),
        ("date", "31.12.1990", "de", ""),
        ("date", "٢٠٢٦-٠١-٠١", "ar", ""),
        ("number", "1234567.50", "en", "1,234,567.50"),
        ("number", "1234567.50", "de", "1.234.567,50"),
        ("number", "-1234567", "hi", "-12,34,567"),
        ("number", "1234567", "fr", "1\u202f234\u202f567"),
        ("number", "1234.5", "de-CH-1901-u-co-phonebk", "1’234.5"),
        ("number", "1e999999999", "en", ""),
        ("number", "NaN", "en", ""),
        ("number", "1,234", "en", ""),
        ("number", "9" * 40, "en", ""),
    ],
)
def test_a_filter_follows_the_contacts_language(used, value, language, shown):
    text = filled(f"<{{{{contact.x:{used}|default}}}}>", x=value, language=language)
    assert text == f"<{shown or 'default'}>"


@pytest.fixture
def no_locales(monkeypatch):
    monkeypatch.setattr(formats, "_used", set())
    formats._find_locale.cache_clear()
    yield
    formats._find_locale.cache_clear()


def test_values_name_only_a_limited_number_of_languages(no_locales, monkeypatch):
    """Babel keeps what it has read of a language."""
    monkeypatch.setattr(formats, "MAX_LOCALES", 2)
    languages = ["de", "fr-CA", "de-AT", "fr-CA", "fr", "it"]
    dates = [filled("{{contact.x:date}}", x="1990-12-31", language=one) for one in languages]
    german, french, english = "31. Dezember 1990", "31 décembre 1990", "December 31, 1990"
    assert dates == [german, french, german, french, english, english]


def test_a_long_language_is_not_kept(no_locales):
    assert filled("{{contact.x:number}}", x="1", language="en") == "1"
    tracemalloc.start()
    for number in range(4):
        filled("{{contact.x:number}}", x="1", language=f"en-{'x' * 1_000_000}{number}")
    in_use, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert in_use < 1_000_000


@given(st.sampled_from(CASES + FORMATS), st.text(), st.text(max_size=12))
def test_a_filter_never_raises(used, value, language):
    for kind in READERS:
        filled(f"{{{{contact.x:{used}}}}}", kind, x=value, language=language)


def test_what_a_contact_lacks_is_noted_where_it_has_no_default():
    values = Values({"first_name": "Ana", "born": "tomorrow", "blank": " "})
    template = READERS["text"](
        "{{contact.first_name}}{{contact.a}}{{contact.a:upper}}{{contact.b|}}{{contact.born:date}}{{contact.blank}}"
    )
    assert values.fill(template, 100) == "Ana"
    assert [*values.empty] == ["a", "born", "blank"]


def test_what_becomes_too_long_is_not_made_at_all():
    values = Values({"x": "y" * 1_000_000})
    template = READERS["text"]("".join(f"{{{{contact.x|{n}}}}}" for n in range(1_000)))
    with pytest.raises(TooLong, match="1,048,576"):
        values.fill(template, 1_048_576)
    assert len(values._values) == 2


def test_what_has_no_fields_may_be_longer():
    assert Values({}).fill(READERS["html"]("x" * 11), 10) == "x" * 11


def test_a_value_is_made_once_for_all_its_fields(monkeypatch):
    calls = []
    monkeypatch.setattr(values_module, "with_case", lambda *call: calls.append(call) or "X")
    assert filled("{{contact.x:upper}}" * 50, x="x") == "X" * 50
    assert len(calls) == 1
