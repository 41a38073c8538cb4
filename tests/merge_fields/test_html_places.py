"""Where a merge field may stand in HTML, and what is said of one that may not."""

import pytest

from gatepost.merge_fields.html import MAX_LENGTH, MAX_MARKUP, SLICE_LENGTH, html_template
from merge_fields.filling import filled, problem

F = "{{contact.x}}"


@pytest.mark.parametrize(
    "html",
    [
        F,
        f"<p>{F}</p>",
        f"<title>{F}</title><textarea>{F}</textarea>",
        f"<img alt='{F}' title=\"{F} and {F}\">",
        f"<IMG ALT='{F}'>",
        f"<td summary={F!r} aria-label = '{F}'>",
        f"<a href='https://a.example/{F}'>",
        f"<a href=' HTTPS://a.example?{F}&amp;y={F}'>",
        f"<a href='http&#58;//a.example/#{F}'>",
        f"<a href='mailto:help@a.example?subject={F}'>",
        f"<img src='https://a.example/{F}.png'>",
        f"<td background='https://a.example/{F}'>",
        f"<script>1</script><style>p {{}}</style><!-- c --><p>{F}",
        f"a < {F} <3 {F} &amp;{F} & {F} &copy; {F}",
        f"{F}<svg></svg>",
        f"<p style='color:red' onclick='go()'>{F}</p>",
        f"{'x' * 10_000}{F}{'y' * 10_000}",
    ],
)
def test_here_it_may_stand(html):
    assert problem(html) is None
    assert filled(html, "html", x="Ana") == html.replace(F, "Ana")


INSIDE_TAG = "inside a tag, outside of the quoted value"


@pytest.mark.parametrize(
    ("html", "words"),
    [
        (f"<script>{F}</script>", "inside script"),
        (f"<SCRIPT\n>var a='{F}'</SCRIPT>", "inside script"),
        (f"<style>p {{ color: {F} }}</style>", "inside style"),
        (f"<xmp>{F}</xmp>", "inside xmp"),
        (f"<script></scrıpt>{F}</script>", "inside script"),
        (f'<!---!><p title="--><a href={F}>">x</a>', INSIDE_TAG),
        (f"<script><!--<script></script>{F}--></script>", "programs read differently"),
        (f'<a href="mailto:?to={F}">', "in a URL only after"),
        (f"<iframe>{F}</iframe>", "inside iframe"),
        (f"<noembed>{F}", "inside noembed"),
        (f"<plaintext>{F}", "inside plaintext"),
        (f"<!-- {F} -->", "inside a comment"),
        (f"<!--[if mso]><p>{F}</p><![endif]-->", "inside a comment"),
        (f"<![CDATA[{F}]]>", "inside a comment"),
        (f"<!DOCTYPE {F}>", "inside a comment"),
        (f"</{F}>", "inside a comment"),
        (f"<p title={F}>", INSIDE_TAG),
        (f"<p {F}='x'>", INSIDE_TAG),
        (f"<p{F}>", INSIDE_TAG),
        (f"<p title='{F}' {F}>", INSIDE_TAG),
        (f"</p title='{F}'>", INSIDE_TAG),
        (f"<p {'a ' * 100}title='{F}'>", INSIDE_TAG),
        (f"<a ='{F}'>", INSIDE_TAG),
        (f"<p title='{F}", "inside a tag that does not end"),
        (f"<p {F}", "inside a tag that does not end"),
        (f"<p onclick='{F}'>", "in this attribute"),
        (f"<p style='{F}'>", "in this attribute"),
        (f"<img srcset='https://a.example/{F} 2x'>", "in this attribute"),
        (f"<iframe srcdoc='{F}'>", "in this attribute"),
        (f"<meta content='0;url=https://a.example/{F}'>", "in this attribute"),
        (f"<base href='https://a.example/{F}'>", "in this attribute"),
        (f"<script src='https://a.example/{F}'>", "in this attribute"),
        (f"<form action='https://a.example/{F}'>", "in this attribute"),
        (f"<a href='{F}'>", "https://HOST/"),
        (f"<a href='{F}://a.example/'>", "https://HOST/"),
        (f"<a href='https://{F}/'>", "https://HOST/"),
        (f"<a href='https://a.example{F}'>", "https://HOST/"),
        (f"<a href='https:\\\\a.example\\{F}'>", "https://HOST/"),
        (f"<a href='java\nscript:{F}'>", "https://HOST/"),
        (f"<a href='/{F}'>", "https://HOST/"),
        (f"<a href='httpſ://a.example/{F}'>", "https://HOST/"),
        (f"<a href='{{{{link}}}}/{F}'>", "https://HOST/"),
        (f"<a href='mailto:{F}'>", "https://HOST/"),
        (f"<img src='data:image/svg+xml,{F}'>", "https://HOST/"),
        (f"&{F};", "right behind"),
        (f"&#{F};", "right behind"),
        (f"AT&T{F}", "right behind"),
        (f"a <{F}", "right behind"),
        (f"<title></tit{F}", "right behind"),
        ("<b>{{contact.<i>x</i>}}", "does not end"),
        ("<p title='{{contact.x|'}}'>", "does not end"),
        ("<p {{contact.x='1'}}>", "does not end"),
        *((f"<{name}></{name}><p>{F}", "which programs read differently") for name in ("svg", "math", "noscript", "select", "frameset", "template")),
    ],
)  # fmt: skip
def test_here_it_is_refused_with_its_place(html, words):
    found, position = problem(f"<b>ok {F}</b>{html}")
    assert words in found
    assert found.isascii()
    assert html[position - len(f"<b>ok {F}</b>") :].startswith("{{contact.")


@pytest.mark.parametrize("shift", range(16))
def test_a_field_across_two_tokens_of_a_long_text_is_read(shift):
    html = "<p>" + "x" * (4096 - shift) + F + "y" * 5000
    assert filled(html, "html", x="<") == html.replace(F, "&lt;")


def test_too_much_html_is_refused():
    assert "characters" in problem(F + "x" * MAX_LENGTH)[0]
    assert "tags" in problem("<b>" * (MAX_MARKUP + 1) + F)[0]
    assert problem("<b>" * (MAX_MARKUP - 1) + F) is None
    # What stands behind the last field is not read.
    assert problem(F + "<b>" * (MAX_MARKUP + 1)) is None


def test_others_get_a_turn_after_each_slice():
    assert sum(1 for _ in html_template("<p>word " * 15_000 + F)) >= 15_000 * 8 // SLICE_LENGTH - 1
