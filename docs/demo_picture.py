"""The picture of the demo for README.md: ``python docs/demo_picture.py`` writes docs/demo.svg anew.

It shows the demo's scenes with the outcome that each of them must have. The demo itself fails when a scene
ends in another way, so the picture is what a successful `make run` prints. tests/docs/test_docs.py fails
when docs/demo.svg differs from it.
"""

import io
import re
import uuid
from pathlib import Path
from types import SimpleNamespace

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from gatepost.demo import show
from gatepost.demo.mailboxes import Arrived
from gatepost.demo.play import Shown
from gatepost.demo.scenes import PEOPLE, REPEATED, SCENES
from gatepost.errors import Code
from gatepost.model import Channel

FILE = Path(__file__).with_name("demo.svg")
WIDTH = 92
# Rich would have browsers load a font from elsewhere.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
SANDBOX = SimpleNamespace(routes=dict.fromkeys(Channel, "sandbox"))


def picture() -> str:
    shown = [outcome(scene) for scene in (*SCENES, REPEATED)]
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(show.columns(SANDBOX, shown))
    show.verdict(console, shown, found=[])
    return console.export_svg(title="make run", code_format=FORMAT, unique_id="demo") + "\n"


def outcome(scene) -> Shown:
    """Return the scene as it looks after a run in which everything went as it should."""
    if scene.code:
        answer = {"error_code": int(scene.code), "error_message": MESSAGES[scene.code]}
    else:
        # The same id whenever it is drawn, and for the same uid.
        identity = uuid.uuid5(uuid.NAMESPACE_URL, scene.uid).hex
        answer = {"error_code": 0, "ext_message_id": identity}
    person = next((one for one in PEOPLE if one.ext_user_id == scene.fields["ext_user_id"]), None)
    arrived = []
    if person and scene.arrives:
        address = person.email if scene.channel is Channel.EMAIL else person.phone
        arrived = [Arrived(id=answer["ext_message_id"], to=address, says=scene.says)]
    statuses = [status.value for status in scene.statuses]
    return Shown(scene=scene, answer=answer, callbacks=statuses, arrived=arrived, problems=[])


MESSAGES = {Code.USER_NOT_FOUND: "no contact source knows this ext_user_id"}


if __name__ == "__main__":
    FILE.write_text(picture(), encoding="utf-8")
