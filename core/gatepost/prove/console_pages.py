"""The pages of the console, read as an operator who follows every link."""

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

from gatepost.prove.client import GatewayClient
from gatepost.prove.outcomes import Outcomes
from gatepost.prove.private_copy import CONSOLE_USER, CONSOLE_USER_HEADER

MAX_PAGES = 60
"""Pages that are read; each has links to many others."""

_LINK = re.compile(r"""(?:href|hx-get)=["']([^"']+)["']""")


async def read_console(gateway: GatewayClient, listen: str, outcomes: Outcomes) -> None:
    """Read the console's pages from the first one on, as a user who is signed in."""
    if not listen:
        outcomes.missing("console", "every page", "its libraries are not installed (gatepost[console])")
        return
    seen, waiting = {"/"}, ["/"]
    headers = {CONSOLE_USER_HEADER: CONSOLE_USER}
    while waiting and len(seen) <= MAX_PAGES:
        path = waiting.pop(0)
        status, content = await gateway.get_console(f"http://{listen}{path}", headers)
        if status < 500:
            outcomes.done("console", f"page {_kind(path)}")
        else:
            outcomes.missing("console", f"page {_kind(path)}", f"it failed with {status}: the log says why")
        for link in _LINK.findall(content):
            parts = urlsplit(urljoin(path, unescape(link)))
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            if not parts.netloc and not parts.path.startswith("/static/") and target not in seen:
                seen.add(target)
                waiting.append(target)


def _kind(path: str) -> str:
    """Return a page's path without what is of one message only."""
    return re.sub(r"[0-9a-f-]{36}", "ID", urlsplit(path).path)
