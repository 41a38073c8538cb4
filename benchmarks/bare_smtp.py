"""The yardstick of *drain SMTP*: an aiosmtplib loop that builds each mail with EmailMessage.

``python benchmarks/bare_smtp.py PORT COUNT CONNECTIONS`` prints its CPU and elapsed seconds as JSON.
"""

import asyncio
import json
import sys
import time
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

import aiosmtplib
from driver import HTML, TEXT, USERS


def mail(number: int) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Amazing <noreply@amazing.example>"
    message["To"] = f"user{number % USERS}@players.example"
    message["Subject"] = "Your weekly bonus is here"
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{number}@amazing.example>"
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message


async def main(port: int, count: int, connections: int) -> dict[str, float]:
    numbers = iter(range(count))

    async def send() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False)
        async with client:
            for number in numbers:
                await client.send_message(mail(number))

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(send() for _ in range(connections)))
    return {"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(main(*map(int, sys.argv[1:])))))
