"""A DNS server on this machine that answers from a table, and a resolver that asks it alone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Self, cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

_MAX_STRING = 255


class DnsServer(asyncio.DatagramProtocol):
    """A server that knows the published records; all other names do not exist."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Sequence[str]] = {}
        """The texts of the records, by name and type."""
        self.rcode = dns.rcode.NOERROR
        """The code of every answer; with another one than NOERROR it holds no records."""
        self.is_silent = False
        """Whether it answers nothing."""
        self.silent_names: Collection[str] = ()
        """Names about which it answers nothing."""
        self.questions: list[tuple[str, str]] = []
        self.resolver = dns.asyncresolver.Resolver(configure=False)
        self.resolver.nameservers = ["127.0.0.1"]
        # It asks once: on a busy machine an answer is late, and never lost.
        self.resolver.timeout = 3_600.0
        self._transport: asyncio.DatagramTransport

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Answer while the block runs."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.resolver.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()

    def publish(self, name: str, kind: str, *texts: str) -> None:
        """Publish records in the place of those of this name and type."""
        self.records[name, kind] = [_strings(text) for text in texts] if kind == "TXT" else texts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, on which the answers go."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question."""
        query = dns.message.from_wire(data)
        [question] = query.question
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        if self.is_silent or name in self.silent_names:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        answer.set_rcode(self.rcode)
        if self.rcode == dns.rcode.NOERROR:
            if texts := self.records.get((name, kind)):
                answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *texts))
            elif not any(known == name for known, _ in self.records):
                answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(max_size=65_535), addr)


def _strings(text: str) -> str:
    """Return a text as the strings of a TXT record, each of at most 255 bytes."""
    starts = range(0, len(text), _MAX_STRING)
    return " ".join(f'"{text[start : start + _MAX_STRING]}"' for start in starts)
