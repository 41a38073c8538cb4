"""The answers to the questions: from options, from a terminal, or the defaults."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import rich_click as click

from gatepost.cli.common import printable
from gatepost.cli.first_config.answer_text import plain_secrets, toml_value
from gatepost.cli.first_config.draft import Draft
from gatepost.cli.setting_types import choices, leaf_types, meta_value
from gatepost.errors import Fault
from gatepost.model import Secret

NO_SECRETS = (
    "a secret on the command line can be seen by every user of this machine: write env:NAME or file:/path"
)

_REFERENCE_HINT = "not shown while you type; or env:NAME or file:/path"


class Question(NamedTuple):
    """A question about one key."""

    key: tuple[str, ...]
    prompt: str
    note: str = ""
    """What to know before answering, in one line."""
    default: str | None = None
    """The answer of somebody who just presses Enter; None: there is none."""
    may_be_empty: bool = False
    """Whether no answer is an answer on a terminal: the key is left out."""

    @property
    def name(self) -> str:
        return ".".join(self.key)


class Interview:
    """Puts answers into a draft. On a terminal each is checked at once; else the problems are collected."""

    def __init__(self, draft: Draft, options: Mapping[str, str], *, terminal: bool) -> None:
        """Take the option that sets a key, for each key that has one."""
        self.draft = draft
        self.terminal = terminal
        self._options = options
        self._problems: dict[str, str] = {}

    def refuse(self, key: str, problem: str) -> None:
        """Add a problem of an option to the list; of each key the first is listed."""
        self._problems.setdefault(key, problem)

    def take_option(self, key: tuple[str, ...], text: str) -> None:
        """Use the text of an option as the value of a key."""
        hint = self.draft.hint(key)
        value = toml_value(text, hint)
        is_store = key == ("store", "url") and "@" not in text
        if not _is_utf8(text):
            self.refuse(".".join(key), "is not UTF-8")
        elif not is_store and next(plain_secrets(value, hint), None):
            self.refuse(".".join(key), NO_SECRETS)
        else:
            self.draft.put(key, value)

    def problems(self, faults: Sequence[Fault] = ()) -> list[str]:
        """Return what is wrong with the options or missing, and these faults, each with its option."""
        found = {**{fault.key: fault.problem for fault in faults}, **self._problems}
        return [printable(f"{self._option(key)}: {problem}") for key, problem in found.items()]

    def _option(self, key: str) -> str:
        return self._options.get(key, f"--set {key}=VALUE")

    def ask(self, question: Question) -> None:
        """Get the answer to a question, unless an option has given one that can be used."""
        if self.draft.has(question.key):
            faults = self.draft.faults(question.name) if self.terminal else []
            if not faults:
                return
            self.print_faults(faults)
            self.draft.remove(question.key)
        if self.terminal:
            self.ask_until_usable(question)
        elif question.default is not None:
            self._put(question, question.default)
        else:
            self.refuse(question.name, f"is missing{f': {question.note}' if question.note else ''}")

    def ask_until_usable(self, question: Question) -> None:
        """Ask on the terminal until the answer has no fault by itself; print each fault."""
        while True:
            text = self.prompt(question)
            if not _is_utf8(text):
                click.secho("This is not UTF-8.", fg="red")
                continue
            self._put(question, text)
            if not text and question.may_be_empty:
                # Whether it is needed depends on others, which may be answered in its place.
                return
            if not (faults := self.draft.faults(question.name)):
                for _key, problem in self.draft.unresolved(question.name):
                    click.secho(f"Now {problem}; it is written as it is.", fg="yellow")
                return
            self.print_faults(faults)
            if self.draft.has(question.key):
                self.draft.remove(question.key)

    def print_faults(self, faults: Sequence[Fault]) -> None:
        """Print faults on the terminal."""
        for fault in faults:
            click.secho(printable(str(fault)), fg="red")

    def prompt(self, question: Question) -> str:
        """Return what is typed at a question; a secret is not shown."""
        click.echo("")
        if question.note:
            click.secho(printable(question.note), dim=True)
        hidden = Secret in leaf_types(self.draft.hint(question.key))
        default = "" if question.may_be_empty and question.default is None else question.default
        text = f"{question.prompt} ({_REFERENCE_HINT})" if hidden else question.prompt
        return str(
            click.prompt(
                printable(text), default=default, show_default=bool(default), hide_input=hidden, type=str
            )
        )

    def _put(self, question: Question, text: str) -> None:
        if text or not question.may_be_empty:
            self.draft.put(question.key, toml_value(text, self.draft.hint(question.key)))


def key_question(draft: Draft, key: tuple[str, ...], *, required: bool) -> Question:
    """Return the question about a plugin's key, whose note is its description."""
    hint = draft.hint(key)
    words = ", ".join(choices(hint))
    note = f"{meta_value(hint, 'description') or ''}{f' ({words})' if words else ''}"
    return Question(key, ".".join(key[1:]), note + _example(hint), may_be_empty=not required)


def _example(hint: Any) -> str:
    """Return an example for a key that is a table, which nobody could guess."""
    # Imported here, because that module is a command.
    from gatepost.cli.first_config.toml_text import toml  # noqa: PLC0415

    example = meta_value(hint, "examples")
    return f"; for example {toml(example)}" if isinstance(example, Mapping) else ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
