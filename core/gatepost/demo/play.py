"""Sends the scenes, waits for what becomes of them, and judges it."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatepost.demo.mailboxes import Arrived
from gatepost.demo.scenes import PEOPLE, REPEATED, SCENES, Scene
from gatepost.demo.stage import Stage
from gatepost.model import Channel

PATIENCE = 30.0
"""Seconds that a status may take; on a quiet machine it is a fraction of one."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a scene."""

    scene: Scene
    answer: Mapping[str, Any]
    callbacks: Sequence[str]
    arrived: Sequence[Arrived]
    problems: Sequence[str]

    @property
    def id(self) -> str:
        """The ext_message_id; empty where it was refused."""
        return str(self.answer.get("ext_message_id", ""))


async def play(stage: Stage) -> list[Shown]:
    """Send everything and wait until it has ended, well or not."""
    answers = await asyncio.gather(*(_ask(stage, scene) for scene in SCENES))
    late = await asyncio.gather(
        *(_wait(stage, scene, answer) for scene, answer in zip(SCENES, answers, strict=True))
    )
    again = await _ask(stage, REPEATED)
    late.append(await _wait(stage, REPEATED, again))
    shown = [
        _judged(stage, scene, answer, problems)
        for scene, answer, problems in zip((*SCENES, REPEATED), (*answers, again), late, strict=True)
    ]
    if shown[-1].id != shown[0].id:
        wrong = [*shown[-1].problems, "the same uid was given another ext_message_id"]
        shown[-1] = msgspec.structs.replace(shown[-1], problems=wrong)
    return shown


async def _ask(stage: Stage, scene: Scene) -> dict[str, Any]:
    smartico = stage.smartico
    send = smartico.send_email if scene.channel is Channel.EMAIL else smartico.send_sms
    # The gateway knows by its configuration where to call back.
    return await send(**scene.fields, callback_url=None)


async def _wait(stage: Stage, scene: Scene, answer: Mapping[str, Any]) -> list[str]:
    """Until its last status is heard; returns what did not come."""
    problems = []
    if answer["error_code"] == 0:
        for status in scene.statuses:
            try:
                await stage.smartico.wait_for(answer["ext_message_id"], status.value, timeout=PATIENCE)
            except TimeoutError as error:
                problems.append(str(error))
                break
    return problems


def _judged(stage: Stage, scene: Scene, answer: Mapping[str, Any], late: Sequence[str]) -> Shown:
    identity = answer.get("ext_message_id", "")
    callbacks = stage.smartico.statuses_of(identity)
    arrived = [one for mailbox in stage.mailboxes for one in mailbox.arrived() if one.id == identity]
    problems = list(late)
    if answer["error_code"] != scene.code:
        problems.append(f"answered with error_code {answer['error_code']} instead of {int(scene.code)}")
    elif not late and callbacks != [status.value for status in scene.statuses]:
        problems.append(f"the callbacks were {', '.join(callbacks)}")
    if len(arrived) != scene.arrives:
        problems.append(f"it arrived {len(arrived)} times instead of {scene.arrives}")
    wanted = _address(scene)
    if any(one.to != wanted for one in arrived):
        problems.append("it arrived at the wrong address")
    return Shown(scene=scene, answer=answer, callbacks=callbacks, arrived=arrived, problems=problems)


def _address(scene: Scene) -> str:
    for person in PEOPLE:
        if person.ext_user_id == scene.fields["ext_user_id"]:
            return person.email if scene.channel is Channel.EMAIL else person.phone
    return ""


def leaks(stage: Stage, shown: Sequence[Shown]) -> list[str]:
    """Where an address or a number stands that must not: what Smartico heard, the database, the log."""
    secrets = [text.encode() for one in PEOPLE for text in (one.email, one.phone.removeprefix("+"))]
    heard = [msgspec.json.encode([one.answer for one in shown])]
    heard += [msgspec.json.encode(call.query) for call in stage.smartico.attempts]
    places: dict[str, bytes] = {"what Smartico heard": b"\n".join(heard)}
    for file in _kept(stage.folder):
        places[file.name] = file.read_bytes()
    return [name for name, content in places.items() if any(secret in content for secret in secrets)]


def _kept(folder: Path) -> list[Path]:
    return sorted([*folder.glob("gatepost.db*"), *folder.glob("*.log")])
