"""The picture of the demo for README.md: ``python docs/demo_picture.py`` writes docs/demo.svg anew.

It shows the demo's requests with the result that each of them must have. The demo itself fails when a request
has another result, so the picture is what a successful `make run` prints. tests/docs/test_docs.py fails
when docs/demo.svg differs from it.
"""

import io
import re
import uuid
from pathlib import Path
from types import SimpleNamespace

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from gatepost.demo import display
from gatepost.demo.requests import REPEATED_REQUEST, REQUESTS, DemoRequest
from gatepost.demo.run import Result
from gatepost.errors import Code
from gatepost.model import Channel
from gatepost.testing.demo_provider import Arrival

FILE = Path(__file__).with_name("demo.svg")
WIDTH = 92
# Rich would have browsers load a font from elsewhere.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
SANDBOX = SimpleNamespace(routes=dict.fromkeys(Channel, "sandbox"))


def picture() -> str:
    results = [expected_result(request) for request in (*REQUESTS, REPEATED_REQUEST)]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(display.results_table(SANDBOX, results))
    display.print_verdict(console, results, leaks=[])
    return console.export_svg(title="make run", code_format=FORMAT, unique_id="demo") + "\n"


def expected_result(request: DemoRequest) -> Result:
    """Return the result of the request after a run in which everything went as it should."""
    # The same id whenever it is drawn, and for the same uid.
    message_id = uuid.uuid5(uuid.NAMESPACE_URL, request.uid).hex
    if request.code:
        answer = {"error_code": int(request.code), "error_message": MESSAGES[request.code]}
    else:
        answer = {"error_code": 0, "ext_message_id": message_id}
    text = request.fields["subject" if request.channel is Channel.EMAIL else "body"]
    arrivals = [Arrival(id=message_id, recipient=request.recipient, text=text) for _ in range(request.copies)]
    statuses = [status.value for status in request.statuses]
    return Result(request=request, answer=answer, callbacks=statuses, arrivals=arrivals, problems=[])


MESSAGES = {Code.USER_NOT_FOUND: "no contact source knows this ext_user_id"}


if __name__ == "__main__":
    FILE.write_text(picture(), encoding="utf-8")
