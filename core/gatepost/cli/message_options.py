"""The options with which commands choose messages by what they have in common."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import rich_click as click

from gatepost.cli.common import refuse_empty
from gatepost.cli.moments import PastMoment
from gatepost.model import Channel
from gatepost.observe.redaction import looks_private
from gatepost.outbox.message_filter import MessageFilter
from gatepost.web.admin.known_names import NO_ADDRESSES

_Command = TypeVar("_Command", bound=Callable[..., object])


def _refuse_private(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse an address or a number in place of a user's id."""
    if looks_private(value):
        raise click.BadParameter(NO_ADDRESSES, context, parameter)
    return refuse_empty(context, parameter, value)


def filter_options(command: _Command) -> _Command:
    """Add the options that both ``list`` and ``cancel`` have."""
    channels = click.Choice([channel.value for channel in Channel])
    for option in (
        click.option("--until", type=PastMoment(), help="Accepted before then, in the same two forms."),
        click.option("--since", type=PastMoment(), help="Accepted since then: 2027-01-31T09:00Z, or 2h ago."),
        click.option(
            "--user", default="", callback=_refuse_private, help="Messages to this user (ext_user_id)."
        ),
        click.option("--route", default="", callback=refuse_empty, help="Messages of this route."),
        click.option("--channel", type=channels, help="Messages of this channel."),
        click.option("--client", default="", callback=refuse_empty, help="Messages of this client."),
    ):
        command = option(command)
    return command


def filter_of(conditions: Mapping[str, Any]) -> MessageFilter:
    """Return the filter that the values of ``filter_options`` say."""
    channel = conditions["channel"]
    since, until = conditions["since"], conditions["until"]
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until")
    return MessageFilter(
        client=conditions["client"],
        channel=Channel(channel) if channel else None,
        route=conditions["route"],
        user=conditions["user"],
        since=since,
        until=until,
    )
