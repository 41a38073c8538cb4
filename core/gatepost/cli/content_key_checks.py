"""What `gatepost check` finds about the keys of contents: which of them the store still needs."""

from collections.abc import Iterator, Mapping

from gatepost.cli.findings import Finding
from gatepost.config.settings import Store
from gatepost.content_keys import ContentKeys
from gatepost.web.admin.words import plural

_KEY = "store.content_keys"


def check_content_keys(store: Store, contents_by_key: Mapping[str, int]) -> Iterator[Finding]:
    """Yield a finding for each configured key, and for each one that the store needs and that is missing.

    ``contents_by_key`` are the numbers of stored contents by the id of their key; by an empty text of plain ones.
    """
    listed = ContentKeys(store.content_keys).ids
    for position, key in enumerate(listed, start=1):
        used = plural(contents_by_key.get(key, 0), "stored content")
        if position == 1:
            text = f"entry 1 (key {key}) encrypts; {used} with it"
        elif key in contents_by_key:
            text = f"entry {position} (key {key}): {used} with it"
        else:
            text = f"entry {position} (key {key}): no stored content has it, so you can remove it"
        yield Finding("good", _KEY, text)
    if listed and (plain := contents_by_key.get("", 0)):
        yield Finding("good", _KEY, f"{plural(plain, 'stored content')} without encryption, from before")
    for key in sorted(contents_by_key.keys() - {"", *listed}):
        number = plural(contents_by_key[key], "stored content")
        yield Finding(
            "warning",
            _KEY,
            f"the key {key} is missing, and {number} can't be read without it: messages that wait go on waiting. "
            "Put it back as the last entry",
        )
