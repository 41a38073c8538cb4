"""The plugins of a first configuration: which are installed for what, and the questions about their keys."""

from collections.abc import Sequence

import msgspec
import rich_click as click

from gatepost.cli.common import printable
from gatepost.cli.first_config.draft import Draft
from gatepost.cli.first_config.interview import Interview, Question, key_question
from gatepost.config.toml_table import closest_name, suggestion
from gatepost.errors import ConfigError
from gatepost.plugin_host import discovery

_ABILITIES = {
    "find_contact": "is a contact source",
    "send_email": "sends email",
    "send_sms": "sends text messages",
}


def offering(hook: str) -> list[str]:
    """Return the installed plugins that implement a hook; one that can't be used has none."""
    return [use for use in sorted(discovery.installed()) if _implements(use, hook)]


def _implements(use: str, hook: str) -> bool:
    try:
        return discovery.implements(discovery.load(use), hook)
    except ConfigError:
        return False


def takes_reports(use: str) -> bool:
    """Return whether a plugin takes its provider's reports."""
    return _implements(use, "parse_webhook")


def choose(interview: Interview, question: Question, hook: str) -> list[str]:
    """Get the plugins for a list of the configuration, with a table for each; returns their names.

    A plugin has the name by which it is installed, unless the options have made a table of another name.
    """
    draft, uses = interview.draft, offering(hook)
    named = [name for name in draft.table(("plugins",)) if _implements(_use(draft, name), hook)]
    known = list(dict.fromkeys([*uses, *named]))
    if interview.terminal and (unknown := _unknown(_listed(draft, question.key), known)):
        click.secho(_problem(unknown, hook, known), fg="red")
        draft.remove(question.key)
    if interview.terminal and not draft.has(question.key):
        if not uses:
            click.secho(f"\n{question.prompt}: no such plugin is installed.", fg="yellow")
            return []
        only = uses[0] if len(uses) == 1 and not question.may_be_empty else None
        question = question._replace(note=f"{question.note} Installed: {', '.join(uses)}.", default=only)
        while unknown := _unknown(names := split(interview.prompt(question)), known):
            click.secho(_problem(unknown, hook, known), fg="red")
        if names:
            draft.put(question.key, names)
    elif not question.may_be_empty:
        interview.ask(question._replace(note=f"there are: {', '.join(uses) or 'none'}"))
    names = _listed(draft, question.key)
    if unknown := _unknown(names, known):
        interview.refuse(question.name, _problem(unknown, hook, known))
    for name in names:
        if name in known and not _use(draft, name):
            draft.put(("plugins", name, "use"), name)
    return names


def _use(draft: Draft, name: str) -> str:
    return str(draft.table(("plugins", name)).get("use", ""))


def split(text: str) -> list[str]:
    """Return what stands between commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _listed(draft: Draft, key: tuple[str, ...]) -> list[str]:
    listed = draft.table(key[:-1]).get(key[-1])
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _unknown(names: Sequence[str], known: Sequence[str]) -> str:
    return next((name for name in names if name not in known), "")


def _problem(name: str, hook: str, known: Sequence[str]) -> str:
    advice = suggestion(closest_name(name, known), known)
    return f"no installed plugin {printable(name)} {_ABILITIES[hook]}; {advice}"


def ask_keys(interview: Interview, name: str) -> None:
    """Get the keys that a plugin must have, and on a terminal those that the operator wants to set."""
    draft = interview.draft
    table = ("plugins", name)
    try:
        fields = msgspec.structs.fields(discovery.settings_type(_use(draft, name)))
    except ConfigError:
        return
    if interview.terminal:
        click.secho(f"\n{printable(name)}", bold=True)
    for field in fields:
        if field.required:
            interview.ask(key_question(draft, (*table, field.encode_name), required=True))
    if interview.terminal:
        _ask_more(interview, table, [field.encode_name for field in fields])
        _ask_again(interview, table, [field.encode_name for field in fields])


def _ask_more(interview: Interview, table: tuple[str, ...], keys: Sequence[str]) -> None:
    """Ask for the names of further keys, and for their values, until there is no further name."""
    while others := [key for key in keys if not interview.draft.has((*table, key))]:
        click.secho(f"\nIt can also have: {', '.join(others)}.", dim=True)
        key = click.prompt(f"Another key of {table[1]}, or Enter to go on", default="", show_default=False)
        if not key:
            return
        if key in others:
            interview.ask(key_question(interview.draft, (*table, key), required=False))
        else:
            click.secho(f"There is no such key; {suggestion(closest_name(key, others), others)}", fg="red")


def _ask_again(interview: Interview, table: tuple[str, ...], keys: Sequence[str]) -> None:
    """Ask for keys again that do not go together, or that the plugin itself refuses."""
    draft = interview.draft
    while faults := draft.faults(".".join(table)):
        click.echo("")
        interview.print_faults(faults)
        faulty = dict.fromkeys(fault.key.split(".")[2] for fault in faults if fault.key.count(".") > 1)
        again = [key for key in faulty if key in keys]
        if not again:
            return
        for key in again:
            if draft.has((*table, key)):
                draft.remove((*table, key))
        for key in again:
            interview.ask_until_usable(key_question(draft, (*table, key), required=False))
        if not all(draft.has((*table, key)) for key in again):
            # Another key may do in its place.
            _ask_more(interview, table, keys)
