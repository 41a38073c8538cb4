"""A plugin instance as a contact source. What it returns is copied and checked, and comes in time."""

import inspect
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

from gatepost import hookspecs
from gatepost.errors import PluginError, SendError, Unavailable
from gatepost.model import Channel, Contact, Secret
from gatepost.observe import redaction
from gatepost.plugin_host import sanitize
from gatepost.plugin_host.isolation import HookFailure, HookRunner

T = TypeVar("T")

USER = "[user]"
"""What stands in the place of an ext_user_id in a failure: logs, alerts and the status show failures."""


class Failure(NamedTuple):
    """A failure to answer about a user."""

    at: float
    """Seconds since the epoch."""
    reason: str


class Source:
    """The lookups of one instance. Each raises Unavailable, and nothing else."""

    def __init__(
        self,
        runner: HookRunner,
        calls: hookspecs.Hooks,
        hooks: Collection[str],
        find_contact: Callable[..., Any] | None = None,
    ) -> None:
        """``hooks`` are the names of the hooks that the plugin implements.

        ``find_contact`` is that hook; where it is a plain function it answers at once, from memory.
        """
        self._runner = runner
        self._calls = calls
        self._find_in_memory = None if inspect.iscoroutinefunction(find_contact) else find_contact
        self.in_memory = self._find_in_memory is not None
        """Whether the plugin answers at once, from memory."""
        self.finds_many = "find_contacts" in hooks and not self.in_memory
        """Whether the plugin can look several users up at once."""
        self.finds_users = "find_user" in hooks
        """Whether the plugin knows whose a number or an address is."""
        self.failed_lookups = 0
        """How often the plugin failed to answer about a user."""
        self.last_failure: Failure | None = None
        """Its last failure to answer."""
        self.is_failing = False
        """Whether it failed to answer the last time."""

    async def find_contact(self, ext_user_id: str, timeout: float) -> Contact | None:  # noqa: ASYNC109  HookRunner keeps it
        """Look a user up within ``timeout`` seconds.

        Raises Unavailable, and nothing else. A source that answers from memory is called directly, without
        pluggy, which would take as long as the source, and without a task and a deadline.
        """
        if find_in_memory := self._find_in_memory:
            contact = self._found(
                self._runner.run_sync(
                    "find_contact",
                    lambda: _copy_found(find_in_memory(ext_user_id=ext_user_id)),
                    (Unavailable,),
                    copy_error=sanitize.copy_send_error,
                ),
                (ext_user_id,),
            )
        else:

            async def find() -> Contact | None:
                return _copy_found(await self._calls.find_contact(ext_user_id=ext_user_id))

            contact = await self._look_up("find_contact", find, timeout, (ext_user_id,))
        redaction.redact_recent(contact)
        return contact

    async def find_contacts(
        self,
        ext_user_ids: Sequence[str],
        timeout: float,  # noqa: ASYNC109  as above
    ) -> Mapping[str, Contact | Unavailable]:
        """Look several users up within ``timeout`` seconds; return the contacts of those that the source knows.

        Unavailable stands in the place of a contact that is wrong or can't be found out: it costs the other users
        nothing. Must only be called when ``finds_many``. Raises Unavailable, and nothing else.
        """

        async def find() -> Mapping[str, Contact | SendError | sanitize.InvalidResult]:
            found = await self._calls.find_contacts(ext_user_ids=tuple(ext_user_ids))
            return sanitize.copy_contacts(found, ext_user_ids)

        found = await self._look_up("find_contacts", find, timeout, ext_user_ids)
        contacts = {user: one for user, one in found.items() if isinstance(one, Contact)}
        redaction.redact_recent(*contacts.values())
        unavailable = {user: one for user, one in found.items() if isinstance(one, Unavailable)}
        for user, error in unavailable.items():
            self._note(error, (user,))
        return {**contacts, **unavailable, **self._wrong_contacts(found, len(ext_user_ids))}

    def _wrong_contacts(self, found: Mapping[str, object], users: int) -> Mapping[str, Unavailable]:
        """Return the error of each user whose contact is wrong; together they are one violation."""
        wrong = {user: one for user, one in found.items() if isinstance(one, sanitize.InvalidResult)}
        if not wrong:
            return {}
        self.failed_lookups += len(wrong)
        problem = f"{next(iter(wrong.values()))} (for {len(wrong)} of {users} users)"
        self._runner.record_violation("find_contacts", problem)
        return {user: Unavailable(str(one)) for user, one in wrong.items()}

    async def find_user(self, channel: Channel, recipient: Secret, timeout: float) -> Sequence[str]:  # noqa: ASYNC109  as above
        """Return the ext_user_ids of the users with this number or address, within ``timeout`` seconds.

        Must only be called when ``finds_users``. Raises Unavailable, and nothing else.
        """

        async def find() -> Sequence[str]:
            copy = Secret(recipient.reveal())
            return sanitize.copy_user_ids(await self._calls.find_user(channel=channel, recipient=copy))

        return await self._look_up("find_user", find, timeout)

    async def _look_up(
        self, hook: str, find: Callable[[], Awaitable[T]], seconds: float, ext_user_ids: Sequence[str] = ()
    ) -> T:
        result = await self._runner.run(
            hook, find, seconds, (Unavailable,), copy_error=sanitize.copy_send_error
        )
        return self._found(result, ext_user_ids)

    def _found(self, result: T | HookFailure, ext_user_ids: Sequence[str]) -> T:
        """Return the result of a lookup of these users; raise Unavailable, and count it, where it failed."""
        if isinstance(result, HookFailure):
            error = as_unavailable(result)
            self._note(error, ext_user_ids)
            raise error
        self.is_failing = False
        return result

    def _note(self, error: SendError, ext_user_ids: Sequence[str]) -> None:
        """Count the error of a lookup of these users, and remove their ids from it."""
        error.reason = _without_users(error.reason, ext_user_ids)
        error.args = (error.reason,)
        self.note_failure(error.reason, max(1, len(ext_user_ids)))

    def note_failure(self, reason: str, users: int = 1) -> None:
        """Note that the plugin failed to answer about so many users."""
        self.failed_lookups += users
        self.last_failure = Failure(time.time(), reason)
        self.is_failing = True


def as_unavailable(failure: HookFailure) -> SendError:
    """Return the error of a hook that may raise Unavailable alone."""
    if isinstance(failure.error, SendError):
        return failure.error
    return Unavailable(cast("PluginError", failure.error).problem)


def _without_users(text: str, ext_user_ids: Sequence[str]) -> str:
    """Return a text without the ids that were asked for: an error often names the URL that was called."""
    forms = {form for one in ext_user_ids for form in (one, quote(one), quote(one, safe=""))}
    # A pattern of all forms of a hundred long ids would hold the event loop for more than 100 ms.
    written = [form for form in forms if form in text]
    # The longest first: one may be the beginning of another.
    pattern = "|".join(re.escape(form) for form in sorted(written, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", USER, text) if written else text


def _copy_found(contact: object) -> Contact | None:
    return None if contact is None else sanitize.copy_contact(contact)
