"""The merge fields of whole messages: their templates are read, and filled with the attributes of one contact."""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gatepost.header_text import MAX_LINE, header_problem
from gatepost.merge_fields.fields import MissingPackage, Template, TemplateError, has_fields
from gatepost.merge_fields.html import html_template
from gatepost.merge_fields.plain_text import read_subject, read_text
from gatepost.merge_fields.values import TooLong, Values
from gatepost.slices import run_in_slices

MAX_FILLED = 1_048_576
"""Characters of a body or text whose fields are filled."""


class UnusableTemplate(Exception):
    """A message can't be sent with its merge fields filled; the text says why, and quotes nothing of the message."""

    def __init__(self, problem: str, *, is_final: bool = True) -> None:
        """``is_final``: whether another installation could not send it either."""
        super().__init__(problem)
        self.is_final = is_final


class EmailTemplate(NamedTuple):
    """The templates of a mail."""

    subject: Template
    html: Template
    text: Template | None
    """None for a mail without a text part."""


class FilledEmail(NamedTuple):
    """The parts of a mail whose fields are filled."""

    subject: str
    html: str
    text: str | None


class MergeFields:
    """Reads and fills the templates of one gateway's clients."""

    def __init__(self, clients: Iterable[str]) -> None:
        # A client's mails are read one by one, so that many of them take no more of the others' turns than one.
        self._locks = {client: asyncio.Lock() for client in clients}

    async def read_email(
        self, client: str, subject: str, html: str, text: str | None
    ) -> EmailTemplate | None:
        """Read a mail; None where it has no merge fields. Raises UnusableTemplate."""
        if not (has_fields(html) or has_fields(subject) or (text and has_fields(text))):
            return None
        return EmailTemplate(
            _read("subject", read_subject, subject),
            await self._read_html(client, html),
            _read("text_body", read_text, text) if text else None,
        )

    def read_sms(self, text: str) -> Template | None:
        """Read a text message; None where it has no merge fields. Raises UnusableTemplate."""
        return _read("body", read_text, text) if has_fields(text) else None

    async def _read_html(self, client: str, html: str) -> Template:
        if not has_fields(html):
            return Template((html,))
        html = html.replace("\r\n", "\n").replace("\r", "\n")
        try:
            async with self._locks[client]:
                return await run_in_slices(html_template(html))
        except TemplateError as error:
            raise _unusable("body", html, error) from None


def fill_email(template: EmailTemplate, values: Values) -> FilledEmail:
    """Fill the fields of a mail; raise UnusableTemplate where the result is none that may be sent."""
    subject = _fill("subject", template.subject, values, MAX_LINE)
    if problem := header_problem(subject):
        raise UnusableTemplate(f"subject, with its merge fields filled, {problem}")
    html = _fill("body", template.html, values, MAX_FILLED)
    text = None if template.text is None else _fill("text_body", template.text, values, MAX_FILLED)
    return FilledEmail(subject, html, text)


def fill_sms(template: Template, values: Values) -> str:
    """Fill the fields of a text message; raise UnusableTemplate where the result is too long, or nothing."""
    text = _fill("body", template, values, MAX_FILLED)
    if not text.strip():
        raise UnusableTemplate("body, with its merge fields filled, is empty")
    return text


def _read(name: str, parse: Callable[[str], Template], source: str) -> Template:
    try:
        return parse(source)
    except TemplateError as error:
        raise _unusable(name, source, error) from None


def _fill(name: str, template: Template, values: Values, limit: int) -> str:
    try:
        return values.fill(template, limit)
    except TooLong as error:
        raise UnusableTemplate(f"{name}, with its merge fields filled, is {error}") from None


def _unusable(name: str, source: str, error: TemplateError) -> UnusableTemplate:
    before = source[: error.position]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    problem = f"{name}, line {line}, column {column}: {error.problem}"
    return UnusableTemplate(problem, is_final=not isinstance(error, MissingPackage))
