"""Lists of email senders in the configuration: addresses and @domains, in the form that requests are compared with."""

from collections.abc import Container, Sequence
from functools import lru_cache

from gatepost.contacts.addresses import canonical_sender


@lru_cache(maxsize=256)
def canonical_senders(entries: tuple[str, ...]) -> frozenset[str]:
    """Return such a list in canonical form; unusable entries are left out."""
    return frozenset(entry for text in entries if (entry := _canonical(text)))


def sender_listed(address: str, senders: Container[str]) -> bool:
    """Return whether a canonical address, or its @domain, is in a canonical list."""
    return address in senders or ("@" in address and address[address.rindex("@") :] in senders)


def sender_faults(entries: Sequence[str]) -> list[str]:
    """Return what is wrong with such a list, one text for each unusable entry."""
    return [
        f"entry {position} is neither an address nor an @domain"
        for position, entry in enumerate(entries, 1)
        if _canonical(entry) is None
    ]


def _canonical(entry: str) -> str | None:
    if entry.startswith("@"):
        address = canonical_sender("x" + entry)
        return address and address[1:]
    return canonical_sender(entry)
