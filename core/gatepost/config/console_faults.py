"""Faults of the console's table whose keys are all valid by themselves."""

from collections.abc import Collection, Iterator
from importlib.util import find_spec

from gatepost.config.certificate import certificate_faults
from gatepost.config.networks import is_loopback, parse_listen
from gatepost.config.settings import Console
from gatepost.errors import Fault


def console_faults(console: Console, faulty_keys: Collection[str]) -> Iterator[Fault]:
    """Yield the faults of the console; ``faulty_keys`` have a fault already."""
    if "console.listen" in faulty_keys:
        return
    if not console.listen:
        if console != Console():
            yield Fault(
                "console.listen", 'is missing, so there is no console: write listen = "127.0.0.1:8090"'
            )
        return
    if not (find_spec("argon2") and find_spec("jinja2")):
        yield Fault(
            "console.listen",
            "the console needs argon2-cffi and jinja2: from your checkout, pip install '.[console]'",
        )
    try:
        host, _port = parse_listen(console.listen)
    except ValueError as error:
        yield Fault("console.listen", str(error))
        return
    yield from certificate_faults(console.certificate, console.key, "console")
    if not (is_loopback(host) or console.certificate):
        yield Fault(
            "console.listen",
            f"{host} can be reached from other machines, and passwords must not travel unencrypted: set certificate "
            "and key, or listen on 127.0.0.1 and put a TLS proxy before it",
        )
    yield from _sign_on_faults(console)


def _sign_on_faults(console: Console) -> Iterator[Fault]:
    if console.user_header and not console.user_header_networks:
        yield Fault(
            "console.user_header_networks",
            "is missing: list the addresses of the proxy, or anybody could send this header",
        )
    if console.user_header_networks and not console.user_header:
        yield Fault("console.user_header", "is missing: name the header in which the proxy names the user")
    for position, host in enumerate(console.hosts, start=1):
        if "/" in host or (":" in host and not host.startswith("[")):
            yield Fault(
                "console.hosts",
                f"entry {position} must be a name alone, without https:// and without a port",
            )
