"""Postfix as what injects mails: it takes each by SMTP, syncs it to its queue, and hands it to a relay.

It needs root, because its master process does. Its configuration, queue and log are in a folder of the run.
"""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import free_port, wait_for_port
from programs import find

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = postfix.bench.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{provider}
smtp_destination_concurrency_limit = 20
smtp_dns_support_level = disabled
smtp_connection_cache_on_demand = yes
smtp_connection_cache_destinations = 127.0.0.1
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
smtputf8_enable = no
"""


@contextmanager
def running(folder: Path, provider: int) -> Iterator[tuple[int, list[int]]]:
    """Run Postfix with a relay on port ``provider``; yield its port and the id of its master process."""
    program = find("postfix")
    assert program
    port = free_port()
    config, data = folder / "config", folder / "data"
    for path in (config, data, folder / "queue"):
        path.mkdir()
    folder.chmod(0o755)
    owner = pwd.getpwnam("postfix")
    os.chown(data, owner.pw_uid, owner.pw_gid)
    (config / "main.cf").write_text(MAIN.format(folder=folder, provider=provider))
    services = Path("/etc/postfix/master.cf.proto").read_text()
    services = services.replace("smtp      inet  n       -       y       -       -       smtpd", "", 1)
    # Without the chroots of Debian: they would need files of the system below the queue.
    rows = [line.split(None, 7) for line in services.splitlines() if line[:1].isalnum()]
    rows = [[*row[:4], "n", *row[5:]] for row in rows] + [f"127.0.0.1:{port} inet n - n - - smtpd".split()]
    (config / "master.cf").write_text("".join(" ".join(row) + "\n" for row in rows))
    run = [program, "-c", str(config)]
    subprocess.run([*run, "start"], check=True, capture_output=True)
    try:
        wait_for_port(port, None)
        yield port, [int((folder / "queue/pid/master.pid").read_text())]
    finally:
        subprocess.run([*run, "stop"], check=False, capture_output=True)
