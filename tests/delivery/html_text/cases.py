"""Hostile HTML in any length."""

import itertools
import random
import re
from collections.abc import Callable

Case = Callable[[int], str]
"""A function that returns the HTML of a case, with about the given number of characters."""

NAMES = [
    "a",
    "abbr",
    "article",
    "b",
    "blockquote",
    "body",
    "br",
    "button",
    "center",
    "code",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "font",
    "form",
    "h1",
    "head",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "label",
    "li",
    "menu",
    "nobr",
    "noscript",
    "object",
    "ol",
    "optgroup",
    "option",
    "p",
    "plaintext",
    "pre",
    "q",
    "ruby",
    "script",
    "select",
    "small",
    "span",
    "strong",
    "style",
    "sub",
    "svg",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "u",
    "ul",
    "video",
    "x-made-up",
    "xmp",
]

FRAGMENTS = (
    "<", ">", "&", '"', "'", "</", "<!", "<?", "<!-", "<!--", "<!-->", "<!--->", "--!>", "<!--x", "-->", "]]>",
    "<![CDATA[", "<![CDATA[x]]>", "<!DOCTYPE html>", "<!DOCTYPE", "<?xml ", "<3 ", "< p", "<p", "<p ", "<p <p ",
    "<p/", "<p =", "<p a", "<p a=", "<p a='", '<p a="', "<p a='>\"", "<a b='\" c=\"'>", "<p/a/b>", "<p\n\n>x",
    "&#", "&#x", "&#1", "&#49;", "&#x31;", "&#0;", "&#xD800;", "&#x110000;", "&#99999999999999999999;", "&amp", "&amp;",
    "&ampamp;", "&notin", "&notit;", "&a", "&CounterClockwiseContourIntegral;", "&nbsp;", "&zwnj;&nbsp;", "&shy;", "&#847;",
    "&lt;b&gt;", "\0", "\x01\x7f", "\x85\x9f", "\u202e\u2066x", "\u200b", "\u200c", "\u200d\u200c ", "\ufeff", "\ud800",
    "\udfff\ud800", "\ufffe", "\U0001f469\u200d", "\u0301", "\xa0", "\u2028", "\r", "\r\n", "\n", "\t", " ", " \n x", "x ",
    "日本語", "שלום <b>", "x<br>", "<hr>", "<br><br>x", "<p>x", "x</p>", "<p>x</p>", "<li>x", "<ul><li>x", "<ol><li>",
    "<ol start=999999><li>x", "<ul><ul>x</ul>", "<dd>x", "<dl><dt>x<dd>", "<td>x", "<tr>x", "<tr><td>x<td>y", "<th>x<td>",
    "<table><td>x", "<table><tr><td>x</td></table>", "x<table>", "<table></table>x", "<td><p>x</p></td>", "<tr></table>",
    "<td></td>", "</td></tr></table>", "<a href=http://x>", "<a href=http://x>y", "<a href=http://x>y</a>",
    "<a href=http://x><img>", "<a href='{{x}}'>y", "<img alt=x>", "<img alt='&amp;'>", "<img alt='\0'>", "<area alt=x>",
    "<p hidden>x", "<p hidden>", "<b hidden>x</b>y", "<i style=display:none>", "<p style=font-size:0>x",
    "<p style=font-size:0>x<b style=font-size:9px>y", "<p style=opacity:0;height:0>", "<p style=white-space:pre>\n ",
    "<pre>\nx", "<pre> x </pre>", "<b><i></b></i>", "<b><p></b>x</p>", "<a><b><a></b>x", "<b><table><i></b>", "<font><p>x</font>",
    "<form><div></form>", "<svg><title>", "<math><mi>x", "<select><option>x", "<option>x", "<template><p>x", "<frameset>",
    "<!--[if mso]>x<![endif]-->", "<![if !mso]>x", "<!--[if !mso]><!-->x", "<script><!--<script>", "<style></styl", "</style>",
    "<title>&amp;</titl", "<textarea>x</textarea>", "<title></title>", "<blockquote>x", "<blockquote>\n", "<center><font>x",
    "<nobr>x", "<h1>x", "<h1></h2>x", "</br>", "</body>x", "<body a=b>x", "<input value=x>", "{{x|y}}", "{{", "%%x%% ",
)  # fmt: skip

ATTRIBUTES = (
    "a ", "a=b ", "a='b' ", 'a="b"', "=", "'", '"', "/", "a=", "a==", "a=' ", "style=x ", "hidden ", "href=x ", "alt='", "A\0=\n",
)  # fmt: skip

STYLES = (
    "padding-left:", ".", "1", "display:", "display:none;", "display: ", "font-size:", "font-size:0;", "font-size:.", ";", " ",
    "opacity:0", "height:0;overflow:hidden;", "white-space:", "/**/", "&amp;", "\\", "(", "url(",
)  # fmt: skip


def repeated(fragment: str, before: str = "", after: str = "") -> Case:
    """Repeat the fragment up to the given length."""

    def case(length: int) -> str:
        times = max(1, (length - len(before) - len(after)) // len(fragment))
        return before + fragment * times + after

    return case


def closed(name: str) -> Case:
    """Nest elements, and close all of them."""
    opened, ended = f"<{name}>", f"</{name}>"
    return lambda length: opened * (length // 2 // len(opened)) + "x" + ended * (length // 2 // len(ended))


def storm(name: str) -> Case:
    """Open elements, and end tags that match none of them."""
    return lambda length: "<div>" * (length // 10) + f"</{name}>" * (length // 2 // (len(name) + 3)) + "x"


def numbered(form: str, before: str = "", after: str = "") -> Case:
    """Repeat the form, with a different number each time."""

    def case(length: int) -> str:
        width = len(form.format(10_000))
        return before + "".join(form.format(n) for n in range(10_000, 10_000 + length // width)) + after

    return case


def adoption(length: int) -> str:
    """Open many formatting elements, and close them in another order."""
    many = length // 30
    return (
        "".join(f"<b {n}>" for n in range(many)) + "".join(f"<i {n}>" for n in range(many)) + "x</b>" * many
    )


def noise(seed: int) -> Case:
    """Repeat a random sequence of fragments and tags."""
    rng = random.Random(seed)
    pieces = [*FRAGMENTS, *(f"<{name}>" for name in NAMES), *(f"</{name}>" for name in NAMES)]
    # A part that hides everything after it would leave no text.
    swallow = re.compile(r"<(?:plaintext|script|style|title|textarea|xmp|iframe|!)|=['\"]?$|['\"]")
    return repeated("".join(rng.choices([one for one in pieces if not swallow.search(one)], k=100)))


def _tags() -> dict[str, Case]:
    cases = {}
    for name in NAMES:
        cases[f"nested {name}"] = closed(name)
        cases[f"storm {name}"] = storm(name)
    return cases


CASES: dict[str, Case] = {
    **_tags(),
    **{f"many {fragment!r}": repeated(fragment) for fragment in FRAGMENTS},
    **{f"in a table {fragment!r}": repeated(fragment, "<table><tr><td>", "</table>") for fragment in FRAGMENTS[::7]},
    **{f"in pre {fragment!r}": repeated(fragment, "<pre>", "</pre>") for fragment in FRAGMENTS[::7]},
    **{f"hidden {fragment!r}": repeated(fragment, "<div hidden>", "</div>x") for fragment in FRAGMENTS[::7]},
    **{f"attribute {one!r}": repeated(one, "<p ", ">x") for one in ATTRIBUTES},
    **{f"endless attribute {one!r}": repeated(one, "<p ") for one in ATTRIBUTES},
    **{f"style {one!r}": repeated(one, '<p style="', '">x') for one in STYLES},
    **{f"alternative {one!r}": repeated(one, '<img alt="', '">') for one in ("x ", "&amp;", "\xa0", "<p>", "\0")},
    **{f"target {one!r}": repeated(one, '<a href="http://', '">x') for one in ("x", "&amp;", " ", "\n", "{{", "\u202e")},
    **{f"raw {name}": repeated(f"</{name[:-1]}", f"<{name}>") for name in ("script", "style", "title", "textarea", "xmp")},
    **{f"raw end {name}": repeated(f"</{name}x>", f"<{name}>") for name in ("script", "style", "title", "iframe")},
    "many attributes": numbered("a{}=1 ", "<p ", ">x"),
    "many names": numbered("<x{}>"),
    "many names closed": numbered("<x{0}>y</x{0}>"),
    "many references": numbered("&a{};"),
    "many characters": numbered("&#{};"),
    "many links": numbered("<a href=http://x/{}>y</a>"),
    "many styles": numbered("<p style='font-size:{}px'>x"),
    "one name": lambda length: f"<{'x' * length}>y</{'x' * length}>",
    "one number": lambda length: f"&#{'1' * length};",
    "one hexadecimal": lambda length: f"&#x{'f' * length};",
    "one zero": lambda length: f"&#{'0' * length}65;",
    "one reference": lambda length: f"&{'a' * length};",
    "one comment": lambda length: f"<!--{'-' * length}>x",
    "one link": lambda length: f"<a href='http://x'>{'y ' * (length // 2)}</a>",
    "one link over a table": lambda length: f"<a href='http://x'><table>{'<tr><td>x<td>y' * (length // 14)}</table></a>",
    "one row": repeated("<td>x", "<table><tr>", "</table>"),
    "one row with headings": repeated("<th></th><td>", "<table><tr><th>x", "x</table>"),
    "adoption agency": adoption,
    "indentation": lambda length: "<pre style='padding-left:100000em'>" + "a\n" * (length // 2),
    "deep lists with items": lambda length: "<ul>" * (length // 16) + "<li>x" * (length // 8),
    "deep tables in cells": lambda length: "<table><tr><td>x<td>" * (length // 40) + "y</table>" * (length // 18),
    "hidden in a hidden": lambda length: "<b hidden>" * (length // 20) + "x" + "</b>" * (length // 8) + "y",
    **{f"noise {seed}": noise(seed) for seed in range(12)},
}  # fmt: skip

MIXED = ["".join(pair) for pair in itertools.islice(itertools.product(FRAGMENTS, FRAGMENTS), 0, None, 97)]
"""Short texts that combine two kinds of fragments."""
