"""The yardstick of *drain*: a bare aiohttp loop that posts the same bodies and stores nothing.

``python benchmarks/bare_http.py PORT COUNT CONCURRENCY`` prints its CPU and elapsed seconds as JSON.
"""

import asyncio
import json
import sys
import time

import aiohttp
from driver import HTML, TEXT, USERS


def body(number: int) -> bytes:
    """Return the body that the SendGrid plugin would post."""
    return json.dumps(
        {
            "personalizations": [
                {
                    "to": [{"email": f"user{number % USERS}@players.example"}],
                    "custom_args": {"gp_id": "01a2074f-41f9-705c-b1f0-f8d70d509539"},
                }
            ],
            "from": {"email": "noreply@amazing.example", "name": "Amazing"},
            "subject": "Your weekly bonus is here",
            "content": [{"type": "text/plain", "value": TEXT}, {"type": "text/html", "value": HTML}],
        }
    ).encode()


async def main(port: int, count: int, concurrency: int) -> dict[str, float]:
    numbers = iter(range(count))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency),
        headers={"Content-Type": "application/json", "Authorization": "Bearer SG.bench"},
    ) as session:

        async def post() -> None:
            for number in numbers:
                async with session.post(f"http://127.0.0.1:{port}/v3/mail/send", data=body(number)) as answer:
                    await answer.read()

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(post() for _ in range(concurrency)))
        return {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(main(*map(int, sys.argv[1:])))))
