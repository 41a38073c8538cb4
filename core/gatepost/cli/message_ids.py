"""How commands find a message by any of its ids."""

from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from gatepost.cli import store
from gatepost.cli.common import fail, printable
from gatepost.config.settings import Settings
from gatepost.observe.redaction import looks_private
from gatepost.outbox import queries
from gatepost.outbox.queries import MessageView
from gatepost.web.admin.known_names import NO_ADDRESSES


async def find_message(settings: Settings, identity: str) -> MessageView:
    """Return the message with this id; end the command when there is none, or more than one."""
    return only_one(identity, await store.fetch(settings, partial(queries.find_messages, identity=identity)))


def only_one(identity: str, found: Sequence[MessageView]) -> MessageView:
    """Return the only message with this id; end the command when there is none, or more than one."""
    if not found:
        no_such_message(identity)
    if len(found) > 1:
        lines = "".join(
            f"\n  {one.id}  {one.channel} of {printable(one.client)}, {one.state}" for one in found
        )
        fail(f"{printable(identity)} is the id of several messages; give one of these ids:{lines}")
    return found[0]


def no_such_message(identity: str) -> NoReturn:
    """End the command, because nothing has this id."""
    if looks_private(identity):
        fail(f"no message has this id. If it is no id of a provider, {NO_ADDRESSES}")
    fail(
        f"no message has the id {printable(identity)}: it was refused more than a day ago, or it ended longer ago than "
        "delivery.retention. If it is the id of a user: gatepost messages list --user"
    )


async def find_ids(settings: Settings, ids: Sequence[str]) -> list[str]:
    """Return the ext_message_ids of these messages; end the command where one is not found."""
    return [(await find_message(settings, identity)).id for identity in ids]
