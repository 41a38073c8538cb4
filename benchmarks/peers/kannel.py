"""Kannel, an SMS gateway in C: bearerbox and smsbox, with its spool on disk, to a provider over HTTP.

Its spool writes each message to a file and deletes it after the send; nothing is synced, so a power cut loses messages. Its
log has errors only.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import free_port, wait_for_port
from programs import find

CONFIG = """\
group = core
admin-port = {admin}
admin-password = bench
smsbox-port = {boxes}
box-allow-ip = 127.0.0.1
log-file = {folder}/bearerbox.log
log-level = 4
store-type = spool
store-location = {folder}/spool

group = smsc
smsc = http
smsc-id = out
system-type = kannel
port = {receive}
send-url = "http://127.0.0.1:{provider}/send"
smsc-username = bench
smsc-password = bench
max-pending-submits = {pending}

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {boxes}
sendsms-port = {sendsms}
log-file = {folder}/smsbox.log
log-level = 4

group = sendsms-user
username = bench
password = bench
"""


@contextmanager
def running(folder: Path, provider: int, pending: int) -> Iterator[tuple[str, list[int]]]:
    """Run both programs with at most ``pending`` sends at once; yield the URL and the process ids."""
    bearerbox, smsbox = find("bearerbox"), find("smsbox")
    assert bearerbox
    assert smsbox
    ports = {name: free_port() for name in ("admin", "boxes", "receive", "sendsms")}
    (folder / "spool").mkdir()
    config = folder / "kannel.conf"
    config.write_text(CONFIG.format(folder=folder, provider=provider, pending=pending, **ports))
    processes = []
    try:
        for program, port in ((bearerbox, ports["boxes"]), (smsbox, ports["sendsms"])):
            process = subprocess.Popen(
                [program, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            processes.append(process)
            wait_for_port(port, process)
        time.sleep(2)  # Until the boxes know each other: earlier requests are refused.
        yield f"http://127.0.0.1:{ports['sendsms']}", [process.pid for process in processes]
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
