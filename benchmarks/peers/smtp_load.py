"""Mails to an SMTP server over kept connections: ``python benchmarks/peers/smtp_load.py PORT CONNECTIONS COUNT``."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import aiosmtplib
from bare_smtp import mail


async def main(port: int, connections: int, count: int) -> None:
    numbers = iter(range(count))

    async def send() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False)
        async with client:
            for number in numbers:
                await client.send_message(mail(number))

    await asyncio.gather(*(send() for _ in range(connections)))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
    print(json.dumps({"refused": 0}))
