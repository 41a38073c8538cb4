"""Checks that errors, their logs and codes hold nothing of a message, not even a fragment. Each runs once for each channel."""

import re

from gatepost.errors import SendError
from gatepost.testing.conformance.failure_checks import declared_failures, send_in
from gatepost.testing.conformance.harness import CANARY, Harness
from gatepost.testing.conformance.leaks import contains_any, fragment_in, text_of
from gatepost.testing.conformance.registry import Group, check
from gatepost.testing.conformance.running_plugin import RunningPlugin
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


@check(Group.SEND)
async def no_leaks_in_errors(harness: Harness) -> None:
    """Raise no error that contains the recipient or a secret: in text, code, cause, context or notes.

    Write the reason in your own words, and raise with `from None`: errors of libraries quote requests.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            text = text_of((await send_in(harness, running, failure))[0])
            assert not contains_any(text, harness.recipients), f"{failure}: the error holds the recipient"
            assert not contains_any(text, harness.secrets()), f"{failure}: the error holds a secret"


@check(Group.SEND, after=("send.no_leaks",))
async def no_leaks_in_failures(harness: Harness) -> None:
    """Log neither the recipient nor a secret when something goes wrong.

    Log the message's id and the kind of failure: no request, no answer and no text of an exception.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            await send_in(harness, running, failure)
            _assert_no_leaks(harness, running, failure)
    # What was printed is in the record only now.
    _assert_no_leaks(harness, running, "some failure")


def _assert_no_leaks(harness: Harness, running: RunningPlugin, what: str) -> None:
    text = "\n".join(running.recorder.texts)
    assert not contains_any(text, harness.recipients), f"{what}: the recipient is in a log"
    assert not contains_any(text, harness.secrets()), f"{what}: a secret is in a log"


@check(Group.SEND, after=("send.no_leaks", "send.no_leaks_in_failures"))
async def no_fragments(harness: Harness) -> None:
    """Log no fragment of a recipient or a message: no last digits, no hash, no word of the text.

    Log the message's id, which is enough to find it: a reader of the logs can compute the hash of every phone
    number.
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
    """Raise no error with a fragment of a recipient or a message.

    Name the field and not its value: operators find the message by its id.
    """
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

    Map the provider's codes, and name the status where it has none: its texts may quote an address in any form.
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

    Return the provider's code by wire.safe_code, and no id of the request and no time: operators search and
    count by it.
    """
    async with harness.run_plugin() as running:
        for failure in declared_failures(harness):
            outcomes = [(await send_in(harness, running, failure))[0] for _ in range(2)]
            found = [one.code for one in outcomes if isinstance(one, SendError)]
            for code in found:
                assert is_code(code), f"{failure}: {code!r} is no code"
            assert len(set(found)) <= 1, f"{failure}: two messages failed alike, with the codes {found}"
