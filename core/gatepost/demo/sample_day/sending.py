"""The sends of the sample day: which instance gets a message, and what it answers."""

import random
from collections.abc import Mapping, Sequence

import msgspec

from gatepost.config.routes import Route
from gatepost.config.settings import Settings
from gatepost.content import EmailContent, decode_content
from gatepost.delivery import attempt
from gatepost.delivery.attempt import InstanceAnswer
from gatepost.delivery.planner import is_paused
from gatepost.demo.sample_day import incidents
from gatepost.errors import SendError, Unavailable
from gatepost.model import Channel, Email, Mailbox, Secret, Sms
from gatepost.outbox import Claim, Outbox, Queue, SendResult, Try
from gatepost.outbox.states import State


class Sending:
    """Sends claimed messages through the routes of a configuration."""

    def __init__(self, settings: Settings, outbox: Outbox, rng: random.Random) -> None:
        self._settings = settings
        self._outbox = outbox
        self._rng = rng
        self._routes: Mapping[tuple[Channel, str], Route] = {
            (channel, route.name): route for channel in Channel for route in settings.routes.of(channel)
        }

    def may_send(self, queue: Queue) -> bool:
        """Return whether some instance of the queue's route is not paused."""
        return bool(self._instances(queue))

    async def send(self, claim: Claim, hours: float) -> SendResult:
        """Try one instance after the other until one gives an answer other than Unavailable; return the result."""
        if claim.suppressed:
            reason = f"the user must not be contacted ({claim.suppressed})"
            return attempt.final_result(claim, State.REJECTED, reason)
        content = decode_content(claim.channel, claim.content)
        message = (
            _email(claim, content.subject) if isinstance(content, EmailContent) else _sms(claim, content.text)
        )
        tries: list[Try] = []
        answer = InstanceAnswer("", Unavailable("no plugin of its route can send now"))
        choice = self._choice(claim.queue)
        for instance in self._instances(claim.queue):
            text = message.text if isinstance(message, Sms) else ""
            received = incidents.answer(self._rng, instance, claim, text, hours)
            failure = received if isinstance(received, SendError) else None
            seconds = incidents.duration(self._rng, instance, failure)
            tries.append(attempt.try_record(instance, message, received, seconds, choice, 0.0, text))
            answer, choice = InstanceAnswer(instance, received), f"after {instance} was unavailable"
            if not isinstance(received, Unavailable):
                break
        result = attempt.send_result(claim, answer, self._settings.delivery.uncertain_wait)
        return msgspec.structs.replace(result, tries=tries)

    def _instances(self, queue: Queue) -> Sequence[str]:
        """Return the instances that may get a message, in the order in which they are tried."""
        route = self._routes[queue.channel, queue.route]
        names = list(route.instances)
        if route.split:
            (first,) = self._rng.choices(names, list(route.split.values()))
            names.sort(key=lambda name: name != first)
        return [name for name in names if not is_paused(self._outbox.pauses, queue, name)]

    def _choice(self, queue: Queue) -> str:
        """Return why the first instance gets a message of this queue."""
        split = self._routes[queue.channel, queue.route].split
        return f"split {':'.join(f'{weight:g}' for weight in split.values())}" if split else ""


def _email(claim: Claim, subject: str) -> Email:
    return Email(
        id=claim.id,
        recipient=Secret(""),
        sender=Mailbox(""),
        subject=subject,
        html="",
        text="",
        lifetime=claim.lifetime,
    )


def _sms(claim: Claim, text: str) -> Sms:
    return Sms(id=claim.id, recipient=Secret(""), sender=None, text=text, lifetime=claim.lifetime)
