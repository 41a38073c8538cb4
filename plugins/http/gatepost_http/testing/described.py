"""What the emulators of described providers share: credentials by the names that the tables use, strict bodies."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from gatepost.model import WebhookRequest
from gatepost.testing.emulator import Emulator
from gatepost.testing.report_sender import Event
from gatepost.testing.webhook_requests import replace_request

S = TypeVar("S", bound=msgspec.Struct)


class DescribedProvider(Emulator):
    """A provider whose plugin is a table of the guide."""

    retry_pauses: ClassVar[Sequence[float]] = (60.0, 300.0)

    @property
    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """The values of the table's ``env:NAME``."""

    def bodies(self, events: Sequence[Event], *, batch: int) -> list[bytes]:  # noqa: ARG002  each body holds one event
        return [msgspec.json.encode(event) for event in events]


def decode(body: bytes, struct_type: type[S]) -> S | str:
    """Return a JSON body as a struct, which refuses unknown fields; or what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=struct_type)
    except (ValueError, RecursionError) as error:
        return str(error)


def with_parameter(request: WebhookRequest, name: str, value: str) -> WebhookRequest:
    """Return a report with this parameter in the query of its URL, as a message's own URL has it."""
    return replace_request(request, url=f"{without_parameter(request.url, name)}&{urlencode({name: value})}")


def without_parameter(url: str, name: str) -> str:
    """Return a URL without one parameter of its query; the query may then be empty."""
    parts = urlsplit(url)
    pairs = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    return f"{url.partition('?')[0]}?{urlencode(pairs)}"
