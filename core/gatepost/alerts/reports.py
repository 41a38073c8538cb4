"""The problems that each gateway reports, and how those of several gateways become one."""

from collections.abc import Mapping, Sequence

import msgspec

from gatepost.upkeep.problems import Problem

MAX_NAMES = 5
"""Hosts that are named; more are counted."""


def encode(problems: Sequence[Problem]) -> str:
    """Return the report of one gateway as text for the store."""
    return msgspec.json.encode(problems).decode()


def merge(reports: Mapping[str, str]) -> list[Problem]:
    """Return the problems that gateways report, by their hosts: each once, with the hosts that see it and that don't."""
    seen: dict[tuple[str, str], dict[str, Problem]] = {}
    for host, text in sorted(reports.items()):
        for one in _decode(text):
            seen.setdefault((one.kind, one.subject), {})[host] = one
    return [
        _merged(hosts, [host for host in sorted(reports) if host not in hosts]) for hosts in seen.values()
    ]


def _merged(hosts: Mapping[str, Problem], others: Sequence[str]) -> Problem:
    one = next(iter(hosts.values()))
    besides = f" (not on {_names(others)})" if others else ""
    return msgspec.structs.replace(one, text=f"on {_names([*hosts])}{besides}, {one.text}")


def _names(hosts: Sequence[str]) -> str:
    if len(hosts) > MAX_NAMES:
        return f"{len(hosts)} gateways"
    *first, last = hosts
    return f"{', '.join(first)} and {last}" if first else last


def _decode(text: str) -> Sequence[Problem]:
    try:
        return msgspec.json.decode(text, type=list[Problem])
    except msgspec.DecodeError:
        # Of another version, while gateways are replaced one after the other.
        return []
