"""The run of the demo: it sends the requests, waits for their statuses, and checks the results."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gatepost.demo.environment import DemoEnvironment
from gatepost.demo.requests import REPEATED_REQUEST, REQUESTS, USERS, DemoRequest
from gatepost.model import Channel
from gatepost.testing.demo_provider import Arrival

STATUS_TIMEOUT = 30.0
"""Seconds that a status may take; on an idle machine it takes less than one."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request."""

    request: DemoRequest
    answer: Mapping[str, Any]
    callbacks: Sequence[str]
    """The statuses that the callbacks brought, in order."""
    arrivals: Sequence[Arrival]
    problems: Sequence[str]
    """What was not as it must be; empty where all was."""

    @property
    def id(self) -> str:
        """The ext_message_id; empty where the request was refused."""
        return str(self.answer.get("ext_message_id", ""))


async def send_all(environment: DemoEnvironment) -> list[Result]:
    """Send every request and return the results, once all statuses have come or timed out."""
    answers = await asyncio.gather(*(_send(environment, request) for request in REQUESTS))
    missing = await asyncio.gather(
        *(_wait(environment, request, answer) for request, answer in zip(REQUESTS, answers, strict=True))
    )
    repeated = await _send(environment, REPEATED_REQUEST)
    missing.append(await _wait(environment, REPEATED_REQUEST, repeated))
    results = [
        _result(environment, request, answer, problems)
        for request, answer, problems in zip(
            (*REQUESTS, REPEATED_REQUEST), (*answers, repeated), missing, strict=True
        )
    ]
    if results[-1].id != results[0].id:
        problems = [*results[-1].problems, "the same uid was given another ext_message_id"]
        results[-1] = msgspec.structs.replace(results[-1], problems=problems)
    return results


async def _send(environment: DemoEnvironment, request: DemoRequest) -> dict[str, Any]:
    smartico = environment.smartico
    send = smartico.send_email if request.channel is Channel.EMAIL else smartico.send_sms
    # The gateway takes the callback URL from its configuration.
    return await send(**request.fields, callback_url=None)


async def _wait(environment: DemoEnvironment, request: DemoRequest, answer: Mapping[str, Any]) -> list[str]:
    """Wait for each status in turn; return a problem for the first that did not come."""
    problems = []
    if answer["error_code"] == 0:
        for status in request.statuses:
            try:
                await environment.smartico.wait_for(
                    answer["ext_message_id"], status.value, timeout=STATUS_TIMEOUT
                )
            except TimeoutError as error:
                problems.append(str(error))
                break
    return problems


def _result(
    environment: DemoEnvironment, request: DemoRequest, answer: Mapping[str, Any], missing: Sequence[str]
) -> Result:
    message_id = answer.get("ext_message_id", "")
    callbacks = environment.smartico.statuses_of(message_id)
    arrivals = [
        arrival
        for provider in environment.providers
        for arrival in provider.arrivals()
        if arrival.id == message_id
    ]
    problems = list(missing)
    if answer["error_code"] != request.code:
        problems.append(f"answered with error_code {answer['error_code']} instead of {int(request.code)}")
    elif not missing and callbacks != [status.value for status in request.statuses]:
        problems.append(f"the callbacks were {', '.join(callbacks)}")
    if len(arrivals) != request.copies:
        problems.append(f"it arrived {len(arrivals)} times instead of {request.copies}")
    if any(arrival.recipient != request.recipient for arrival in arrivals):
        problems.append("it arrived at the wrong address")
    return Result(request=request, answer=answer, callbacks=callbacks, arrivals=arrivals, problems=problems)


def find_leaks(environment: DemoEnvironment, results: Sequence[Result]) -> list[str]:
    """Return the places with an address or number: what Smartico received, the database files, the log."""
    secrets = [text.encode() for user in USERS for text in (user.email, user.phone.removeprefix("+"))]
    received = [msgspec.json.encode([result.answer for result in results])]
    received += [msgspec.json.encode(callback.query) for callback in environment.smartico.attempts]
    places: dict[str, bytes] = {"what Smartico received": b"\n".join(received)}
    for file in sorted([*environment.folder.glob("gatepost.db*"), *environment.folder.glob("*.log")]):
        # The socket for commands has no content.
        if file.is_file():
            places[file.name] = file.read_bytes()
    return [name for name, content in places.items() if any(secret in content for secret in secrets)]
