"""What the operators of the sample day do, each at its time."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gatepost.config.settings import Settings
from gatepost.console.passwords import hash_password
from gatepost.demo.sample_day import incidents
from gatepost.model import Channel
from gatepost.outbox import Outbox, RetryOrder, cancellations, pauses, retries, suppressions
from gatepost.outbox.cancellations import CancelStep
from gatepost.outbox.console_users import ConsoleUser, Role, UserChange, put_user
from gatepost.outbox.message_filter import MessageFilter
from gatepost.outbox.pauses import PauseOrder, ResumeOrder, Scope
from gatepost.outbox.states import State
from gatepost.outbox.suppressions import NewSuppression, Removal
from gatepost.outbox.transaction import Transaction

OPERATOR, VIEWER = "maria", "vera"
"""The users of the console."""

_ROLES: dict[str, Role] = {OPERATOR: "operator", VIEWER: "viewer"}

_MARIA, _OTTO = f"{OPERATOR} (console)", "otto"

_MAIL_PAUSE = Scope(plugin="mail-main")

_SENT_AGAIN = 3
"""Failed messages that an operator sends again."""


class Act(NamedTuple):
    """One act of an operator."""

    hours: float
    """Before the end of the day."""
    do: Callable[[], Awaitable[object]]


class Operators:
    """The people who steer the gateway of the sample day."""

    def __init__(self, settings: Settings, outbox: Outbox, password: str) -> None:
        """``password`` is that of both users of the console."""
        self._settings = settings
        self._outbox = outbox
        self._password = password

    def acts(self) -> Sequence[Act]:
        """Return all acts in their order."""
        return (
            Act(incidents.DAY, self._add_users),
            Act(14.2, self._suppress),
            Act(incidents.OPERATOR_ARRIVES, self._pause_mail),
            Act(incidents.CAMPAIGN_STOPPED, self._cancel_campaign),
            Act(incidents.MAIL_OUTAGE[1] - 0.05, self._resume_mail),
            Act(3.1, self._unsuppress),
            Act(incidents.SENT_AGAIN, self._send_again),
            Act(incidents.PAUSED_SINCE, self._pause_sms),
        )

    async def _add_users(self) -> None:
        password_hash = hash_password(self._password)
        for name, role in _ROLES.items():
            user = ConsoleUser(name=name, role=role, password_hash=password_hash)
            await self._outbox.change(put_user, UserChange(user, _OTTO))

    async def _suppress(self) -> None:
        order = NewSuppression("amazing", "AM1024", "asked support to stop", _OTTO)
        await self._outbox.change(suppressions.add, order)

    async def _unsuppress(self) -> None:
        order = Removal("amazing", "AM1024", "changed their mind", _OTTO)
        await self._outbox.change(suppressions.remove, order)

    async def _pause_mail(self) -> None:
        await self._pause(PauseOrder(_MAIL_PAUSE, _MARIA, "the provider answers 503, ticket 4711"))

    async def _pause_sms(self) -> None:
        scope = Scope(client="nordic", channel=Channel.SMS)
        await self._pause(PauseOrder(scope, _MARIA, "wrong link in the campaign"))

    async def _pause(self, order: PauseOrder) -> None:
        await self._outbox.change(pauses.pause, order)
        await self._outbox.read_pauses()

    async def _resume_mail(self) -> None:
        await self._outbox.change(pauses.resume, ResumeOrder(_MAIL_PAUSE, _MARIA))
        await self._outbox.read_pauses()

    async def _cancel_campaign(self) -> None:
        wanted = MessageFilter(client="nordic", channel=Channel.EMAIL)
        step = CancelStep(wanted, _MARIA, "the offer has ended")
        while not (progress := await self._outbox.cancel(cancellations.cancel, step)).done:
            step = step._replace(progress=progress)

    async def _send_again(self) -> None:
        ids = await self._outbox.change(_failed_ids, None)
        lifetimes = {channel: self._settings.delivery.lifetime(channel) for channel in Channel}
        await self._outbox.retry(RetryOrder(ids[:_SENT_AGAIN], _MARIA, lifetimes))


def _failed_ids(tx: Transaction, items: Sequence[None]) -> list[list[str]]:
    return [retries.ids_in_states(tx.connection, MessageFilter(states=(State.FAILED,)))] * len(items)
