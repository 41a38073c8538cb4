"""The text of usual mails: expected texts, each checked by a person."""

import pytest

from delivery.html_text.mails import MAILS, TEXTS
from delivery.html_text.text import text_of


@pytest.mark.parametrize("name", MAILS)
def test_the_text_of_a_usual_mail(name):
    assert text_of(MAILS[name]) == TEXTS[name]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a  b\n\tc", "a b c"),
        ("a<br>b<br/>c<br><br><br>d", "a\nb\nc\n\nd"),
        ("<b>a</b><i>b</i> <u>c</u>", "ab c"),
        ("<p>a<p>b<div>c<div>d</div></div>e", "a\n\nb\n\nc\nd\ne"),
        ("<p>a</p><hr width='100%' size='1'><p>b</p>", "a\n\n--------------------\n\nb"),
        ("x&#8203;y&shy;z", "xyz"),
        ("<td>a</td><td>b</td>", "a | b"),
        ("<table><tr><th>A<th>B<tr><td><td>2<td><td>4</table>", "A | B\n2 | | 4"),
        ("<img alt='A &amp; B'>", "A & B"),
        ("<a href='https://x.example/'><img src=y></a>", "https://x.example/"),
        ("<a href='https://x.example/'></a>b", "b"),
        ("<a href='https://x.example/'>X.example</a>", "X.example"),
        ('<a href="https://x.example/?a=1&amp;b=2&copy=3">go</a>', "go (https://x.example/?a=1&b=2&copy=3)"),
        ("<a href='{{link|https://x.example/}}'>go</a>", "go ({{link|https://x.example/}})"),
        ("{{name|&quot;friend&quot;}}", '{{name|"friend"}}'),
        ("<ol reversed start='x'><li>a</ol>", "1. a"),
        ("<p hidden>a<p>b", "b"),
        ("<div hidden>a<p>b</div>c", "c"),
        ("<td style='font-size:0'>a<p style='font-size:12px'>b</p>c</td>d", "b\n\nd"),
        ("<b style='display:none'>a<b>b</b>c</b>d", "d"),
        # As in a browser: the link ends, and the element that was opened in it stays open and hidden.
        ("<a style='text-decoration:none'><div style='display:none'></a>b", ""),
        ("<div style='display:none'><table><tr><td></div>a</table></div>b", "b"),
        ("<style>a", ""),
        ("a<!-- b", "a"),
        ("a <b", "a"),
        ("<pre>a\n\n\n  b  </pre>", "a\n\n\n  b"),
    ],
)
def test_html_is_converted_as_a_browser_shows_it(html, text):
    assert text_of(html) == text
