"""Checks that logs, errors and codes hold nothing of a message, not even a fragment. Each runs once for each channel."""

import re

from gatepost.errors import SendError
from gatepost.testing.conformance.failure_checks import declared_failures, send_in
from gatepost.testing.conformance.harness import CANARY, Harness
from gatepost.testing.conformance.leaks import fragment_in
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.kit_emulator import PROSE

CODE = re.compile(r"[A-Za-z0-9](?:[\w.:/#-]| (?! )){0,39}", re.ASCII)
"""What a code looks like: a number or a few words of a closed list, no sentence."""
_MAX_WORDS = 5


def is_code(text: object) -> bool:
    """Return whether a text can be a code; an empty one can."""
    return isinstance(text, str) and (
        not text or (CODE.fullmatch(text) is not None and len(text.split()) <= _MAX_WORDS)
    )


def holds_prose(text: str) -> bool:
    """Return whether a text has a word of the emulated provider's prose."""
    names = [word for word in PROSE.split() if word.istitle() and word != PROSE.split()[0].rstrip(",")]
    return any(word.lower() in text.lower() for word in names)


@check(Group.SEND, after=("send.no_leaks", "send.no_leaks_in_failures"))
async def no_fragments(harness: Harness) -> None:
    """Log no fragment of a recipient or a message: no last digits, no hash, no word of the text.

    A reader of the logs can compute the hash of every phone number. The message's id is enough to find it.
    """
    async with harness.run_plugin() as running:
        await harness.send_message(running)
        for failure in declared_failures(harness):
            await send_in(harness, running, failure)
    text = "\n".join(running.recorder.texts)
    for recipient in harness.recipients:
        found = fragment_in(text, recipient)
        assert not found, f"{found} is in a log"
    assert CANARY.lower() not in text.lower(), "a part of the message's content is in a log"


@check(Group.SEND, after=("send.no_leaks_in_errors",))
async def no_fragments_in_errors(harness: Harness) -> None:
    """Raise no error with a fragment of a recipient or a message."""
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            outcome, _ = await send_in(harness, running, failure)
            if isinstance(outcome, SendError):
                text = f"{outcome.reason} {outcome.code}"
                found = fragment_in(text, harness.recipients[-1])
                assert not found, f"{failure}: {found} is in the error"
                assert CANARY.lower() not in text.lower(), f"{failure}: the content is in the error"


@check(Group.SEND)
async def own_words(harness: Harness) -> None:
    """Compose reasons and codes of its own words and of closed lists, never of the provider's free text.

    What a provider writes may quote an address in any form. Map its codes, and name the status where it has none.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            outcome, _ = await send_in(harness, running, failure)
            if isinstance(outcome, SendError):
                assert not holds_prose(outcome.reason), f"{failure}: the reason is the provider's prose"
                assert not holds_prose(str(outcome.code)), f"{failure}: the code is the provider's prose"
    assert not holds_prose("\n".join(running.recorder.texts)), "the provider's prose is in a log"


@check(Group.SEND, after=("send.own_words",))
async def codes(harness: Harness) -> None:
    """Raise errors whose code is a code: short, of a closed list, and the same for the same failure.

    Operators search and count by it. An id of the request or a time is none.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            outcomes = [(await send_in(harness, running, failure))[0] for _ in range(2)]
            found = [one.code for one in outcomes if isinstance(one, SendError)]
            for code in found:
                assert is_code(code), f"{failure}: {code!r} is no code"
            assert len(set(found)) <= 1, f"{failure}: two messages failed alike, with the codes {found}"
