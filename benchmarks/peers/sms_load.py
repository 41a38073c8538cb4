"""Text messages over kept connections: ``python benchmarks/peers/sms_load.py KIND URL CONNECTIONS COUNT``.

KIND ``gatepost`` posts to URL/sms as Smartico does, ``kannel`` gets URL/cgi-bin/sendsms. Prints what was counted as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import quote_plus

sys.path.insert(0, str(Path(__file__).parents[1]))
from driver import USERS, Load

TEXT = "Your weekly bonus is here: 20 free spins until midnight"


class GatepostLoad(Load):
    """Requests as Smartico makes them."""

    def request(self) -> bytes | None:
        if self.count == self.max_count:
            return None
        self.count += 1
        fields = {"ext_user_id": f"u{self.count % USERS}", "from_number": "Amazing", "body": TEXT}
        body = json.dumps({**fields, "im_uid": f"{self.prefix}-{self.count}"}).encode()
        head = "POST /sms HTTP/1.1\r\nHost: bench\r\nAuthorization: letmein\r\nContent-Type: application/json\r\n"
        return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


class KannelLoad(Load):
    """Requests to Kannel's smsbox."""

    def request(self) -> bytes | None:
        if self.count == self.max_count:
            return None
        self.count += 1
        query = f"username=bench&password=bench&from=Amazing&to=4477009{self.count % USERS:05d}&text={quote_plus(TEXT)}"
        return f"GET /cgi-bin/sendsms?{query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()

    def accepts(self, head: bytes, body: bytes) -> bool:  # noqa: ARG002
        return head.startswith(b"HTTP/1.1 202")


if __name__ == "__main__":
    import uvloop

    kind, url, connections, count = sys.argv[1:]
    load = {"gatepost": GatepostLoad, "kannel": KannelLoad}[kind](url, connections, "600", "run", count)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(load.run())))
