"""How many messages reached a final state in this process."""

from collections import Counter
from collections.abc import Iterable

from gatepost.model import Channel
from gatepost.observe import logs
from gatepost.outbox.records import EndedMessage
from gatepost.outbox.states import FINAL_STATES, State

_log = logs.get(__name__)


class EndCounts(Counter[tuple[Channel, State]]):
    """The ends by channel and state, from zero for each.

    A message may be counted several times: an operator may queue it again, and a report may prove that it was sent
    after it had failed.
    """

    def __init__(self) -> None:
        super().__init__({(channel, state): 0 for channel in Channel for state in FINAL_STATES})

    def count(self, ended: Iterable[EndedMessage]) -> None:
        """Count ends, which are on disk by now; log each failed message, because an operator has to act."""
        for one in ended:
            self[one.channel, one.state] += 1
            if one.state is State.FAILED:
                _log.error("message_failed", message=one.id, client=one.client, channel=one.channel.value)
