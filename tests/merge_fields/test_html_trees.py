"""Whatever a value is, the filled HTML has the tree that it has with the value "x", but for that one text."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from justhtml import JustHTML

from delivery.html_text.cases import FRAGMENTS, NAMES
from gatepost.merge_fields.fields import TemplateError, clean
from gatepost.merge_fields.html import TEXT_ATTRIBUTES, URL_ATTRIBUTES
from gatepost.merge_fields.values import as_text
from merge_fields.filling import filled, problem

FIELD = "{{contact.name}}"
HOSTILE = (
    "<", ">", "&", "'", '"', "`", "=", "/", "\\", "--", "-->", "]]>", "--!>", " ", "\n", "\r\n", "\0", "\x0b", "\u2028", "lt;",
    "amp", "#60;", "x3c;", "script>", "<script>alert(1)</script>", "</title>", "</textarea>", "</style>", "<!--", "<![CDATA[",
    "onload=alert(1)", "javascript:", "{{contact.name}}", "}}", "=?utf-8?q?=0D=0A?=", "\u202e", "\ud800", "%0d%0a", "ﬁ", "ß",
    "</p ", "le", "le ", "a b", "😀", "ي",
)  # fmt: skip
BROKEN = (
    f"<a ={FIELD!r}>", f'<a ="{FIELD}">', f'<a b="x"="{FIELD}">', f'<a title="x"{FIELD}>', f"&{FIELD}", f"&#x{FIELD}", f"<{FIELD}",
    f"</{FIELD}", f"<title></tit{FIELD}", f"<a title='&{FIELD}'>", f"<a title=' {FIELD} '>", f'<a title="{FIELD}', f"<b{FIELD}>",
    f"<a title={FIELD}>", f"<a href='https://a.example/{FIELD}'>", f'<a href="https&#58;//a.example/?b={FIELD}&amp;c">', FIELD,
    f"{FIELD}{FIELD}", f"<svg><style><!--</style>{FIELD}", f'<svg><![CDATA[ > <a title=" ]]><script>{FIELD}</script><![CDATA[">',
    f'<select><style><a title="</style>{FIELD}', f'<noscript><a title="</noscript>{FIELD}">', "<math><mi>", f"<!--{FIELD}-->",
    f"<textarea>{FIELD}</textarea>", f"<title>{FIELD}</title>", f"<xmp>{FIELD}</xmp>", f"<table>{FIELD}<tr>{FIELD}<td>{FIELD}",
    "<a b", "<a b=", "<a b='", "<a b=\"x' ", "'>", '">', "<template>", "<frameset>", "<plaintext>", "<script>", "</script>",
    "<style>", "</style>", "<title>", "</title>", "<textarea>", "</textarea>", "<iframe>", "<noframes>", "<pre>\n", "&lt", "&am",
    f"<title></tit{FIELD}>", f'<select><style><!--</style><a title="--><script>{FIELD}</script>">',
    f"<script></scrıpt>{FIELD}</script>", f"<template><col><style></template><script>x='</style>{FIELD}'</script>",
    f"<a =\"> <script> title='{FIELD}' </script> \"c>", f"<p style='{FIELD}'>", f"<img src=\"https://a.example/{FIELD}\" alt='{FIELD}'>", f"<body background='{FIELD}'>",
)  # fmt: skip

pieces = st.one_of(
    st.sampled_from((*BROKEN, *FRAGMENTS, FIELD)),
    st.sampled_from([f"<{name}>" for name in NAMES] + [f"</{name}>" for name in NAMES]),
    st.text(max_size=4),
)
values = st.one_of(st.lists(st.sampled_from(HOSTILE), max_size=6).map("".join), st.text(max_size=20))


def tree(html, *, scripting):
    """Return the nodes of a document in their order, each with its depth; and the texts, apart from them."""
    nodes, texts = [], []
    waiting = [(JustHTML(html, sanitize=False, scripting_enabled=scripting).root, 0, False)]
    while waiting:
        node, depth, is_code = waiting.pop()
        attributes = dict(getattr(node, "attrs", None) or {})
        if node.name == "#text" and not (node.data or "").strip(" "):
            # A blank may be put before a value, and be a text of its own: outside of the body.
            continue
        nodes.append((depth, getattr(node, "namespace", None), node.name, tuple(attributes)))
        texts += [
            (name not in TEXT_ATTRIBUTES and name not in URL_ATTRIBUTES, name, value)
            for name, value in attributes.items()
        ]
        if node.name.startswith("#"):
            texts.append((is_code or node.name != "#text", node.name, node.data or ""))
        children = list(getattr(node, "children", None) or ())
        if content := getattr(node, "template_content", None):
            children.append(content)
        is_code = node.name in {
            "script",
            "style",
            "iframe",
            "noembed",
            "noframes",
            "xmp",
            "plaintext",
            "noscript",
        }
        waiting += [(child, depth + 1, is_code) for child in reversed(children)]
    return nodes, texts


@pytest.mark.parametrize("scripting", [False, True])
@given(st.lists(pieces, max_size=12).map("".join), values)
@example("<p>&{{contact.name}}", "lt;")
@example("<title></tit{{contact.name}}", "le ")
@example("<head>{{contact.name}}", "{name}")
@example("<a title=' {{contact.name}} '><noscript><a>", "x")
@example("<p>*{{contact.name}}", "|NAME|*")
@example("<p>a <{{contact.name}}", "b>")
@example('<a ="{{contact.name}}">', "x onclick=alert(1)")
@example("<a title='x> {{contact.name}}", "'")
def test_a_value_changes_nothing_but_its_text(scripting, template, value):
    check(template, value, scripting=scripting)


def check(template, value, *, scripting):
    html = template.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if FIELD not in html or problem(html):
        return
    shown = as_text(clean(value)) or "x"
    nodes, texts = tree(filled(html, "html", name="x9x"), scripting=scripting)
    other_nodes, other_texts = tree(filled(html, "html", name=shown), scripting=scripting)
    assert other_nodes == nodes
    for (is_code, name, text), (_, _, other) in zip(texts, other_texts, strict=True):
        if "x9x" not in text:
            assert other == text
            continue
        assert not is_code, (name, text)
        if name in {"href", "src", "background"}:
            assert text[: text.index("x9x")].lower().lstrip().startswith(("http", "mailto:"))
            assert other.isascii()
        else:
            # Blanks may be put around a value, and are dropped where a document begins.
            assert _without_blanks(other) == _without_blanks(text.replace("x9x", shown))


def _without_blanks(text):
    return text.replace(" ", "")


def test_the_property_is_not_empty():
    """Some of the broken templates can be filled, and most can't."""
    usable = [one for one in BROKEN if FIELD in one and not problem(one)]
    assert 5 <= len(usable) < sum(FIELD in one for one in BROKEN)
    for one, value, scripting in itertools.product(BROKEN, HOSTILE, (False, True)):
        check(f"<p>a{one}b</p>{FIELD}", value, scripting=scripting)


@given(st.lists(pieces, max_size=20).map("".join))
def test_any_html_is_read_or_refused(html):
    html = html.replace("\r", "\n")
    assert problem(html) is None or html.startswith("{{", problem(html)[1])
    if "{{contact." not in html:
        assert filled(html, "html") == html


@given(st.lists(pieces, max_size=12).map("".join), values)
def test_a_filled_text_is_not_filled_again(template, value):
    html = template.replace("\r", "\n")
    try:
        once = filled(html, "html", name=value.replace("{", "("))
    except TemplateError:
        return
    assert filled(once, "html", name="never") == once
