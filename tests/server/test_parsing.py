"""Received bytes are cut into pieces of a few requests each."""

from gatepost.server.parsing import end_of_requests


class Scanned(bytes):
    """Bytes that count how many of them are searched."""

    scanned = 0

    def find(self, part, begin=0):
        found = super().find(part, begin)
        self.scanned += (len(self) if found < 0 else found + 1) - begin
        return found

    def count(self, part, begin=0):
        self.scanned += len(self) - begin
        return super().count(part, begin)


def test_every_byte_is_searched_once_however_many_lines_there_are():
    data = Scanned(b"\n" * 100_000)
    end = 0
    while end < len(data):
        end = end_of_requests(data, end, 32)

    assert data.scanned <= len(data)
