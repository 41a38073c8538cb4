"""The whole conversion of a mail in one call."""

from gatepost.delivery.html_text import conversion


def text_of(html, **limits):
    """Return the text of the HTML; ``limits`` are those of ``conversion``."""
    steps = conversion(html, **limits)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
