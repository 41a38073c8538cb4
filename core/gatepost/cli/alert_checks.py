"""What `gatepost check` finds about the receivers of alerts; with --live each of them gets a test message."""

import asyncio
from collections.abc import Collection

from gatepost.alerts.digest import TEST
from gatepost.alerts.receivers import Receiver, receivers
from gatepost.alerts.sending import Sending
from gatepost.cli.findings import Finding
from gatepost.config.settings import Settings


async def check_alerts(settings: Settings, faulty: Collection[str], *, live: bool) -> list[Finding]:
    """Return a finding for the receivers, or with ``live`` one for each; none where nobody is told."""
    found = receivers(settings.alerts)
    if not found or "alerts" in faulty:
        return []
    if live:
        return list(await asyncio.gather(*map(_try, found)))
    return [Finding("good", "alerts", f"go to {', '.join(one.scheme for one in found)}")]


async def _try(receiver: Receiver) -> Finding:
    problem = await Sending(receiver).try_message(TEST)
    if problem:
        text = f"entry {receiver.position} ({receiver.scheme}) got no test message: {problem}"
        return Finding("fault", "alerts.notify", text)
    return Finding(
        "good", "alerts", f"entry {receiver.position} ({receiver.scheme}) has taken a test message"
    )
