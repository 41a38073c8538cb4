"""A page of plain text while it is written: words, and the space between them.

A requested space is not written at once but before the next word. So the largest of several requests counts, and no
space is left at the end. Line breaks, indentation and bullets are written only while the page is shorter than the part
of the document that was read: the text is never longer than the HTML.
"""

import re

NONE, SPACE, LINE, BLANK = range(4)
"""The space between two words, from the smallest to the largest; BLANK is an empty line."""

MAX_ROW_WIDTH = 100
"""Characters of a table row in one line; the cells of a longer row are written below each other."""

_WHITE = r"\t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029"
_WHITE_RUNS = re.compile(rf"[ {_WHITE}]{{2,}}|[{_WHITE}]")
_INVISIBLE = r"\xad\u034f\u115f\u1160\u180e\u200b\u2060-\u2064\ufeff"
_JOINERS = r"\u200c\u200d\u2007\u2800"
# Characters that mailing tools fill a preview line with. A joiner between two letters is spelling (Persian, emoji).
_FILLERS = re.compile(rf"[{_INVISIBLE}]|[{_JOINERS}](?=[ {_WHITE}{_INVISIBLE}{_JOINERS}]|\Z)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]+")


class Row:
    """A table row; only at its end is it known whether it fits in one line."""

    __slots__ = ("breaks", "first_in_cell", "new_cells", "outer", "separators", "shown", "started")

    def __init__(self, outer: "Row | None") -> None:
        self.outer = outer
        self.started = False
        """Whether the row shows anything yet."""
        self.first_in_cell = False
        """Whether the next word is the first of a cell, in a row that shows something already."""
        self.new_cells = 0
        """Cells that have begun since the last word of the row."""
        self.separators: list[tuple[int, int]] = []
        """Positions on the page between two cells, each with the number of cells that it separates."""
        self.breaks = self.shown = 0


class Page:
    """The text that has been written so far.

    One class in spite of its many methods: each of them has an effect on the same text and its position.
    """

    def __init__(self) -> None:
        self.html_size = 0
        """Characters of the HTML that have been read."""
        self.size = 0
        """Characters of the text that have been written."""
        self.shown = 0
        """Characters of words among them."""
        self.breaks = 0
        """Lines that have ended."""
        self.gap = NONE
        """The space before the next word."""
        self.indent = ""
        self.bullet = ""
        """The bullet or number of the next line, at the end of its indentation."""
        self.row: Row | None = None
        """The innermost open row."""
        self._parts: list[str] = []

    def request_gap(self, gap: int) -> None:
        """Request space before the next word."""
        self.gap = max(self.gap, gap)

    def add_words(self, text: str) -> None:
        """Write text in which a run of white space is one space."""
        text = _clean(text)
        words = text.strip(" ")
        if not words:
            if text:
                self.request_gap(SPACE)
            return
        if text[0] == " ":
            self.request_gap(SPACE)
        self._begin()
        self._write(words, shown=True)
        self.gap = SPACE if text[-1] == " " else NONE

    def add_lines(self, text: str) -> None:
        """Write text with its line breaks and blanks as they are."""
        text = _CONTROLS.sub("", text)
        if text:
            self._begin()
            self._write(text, shown=True)
            self.breaks += text.count("\n")

    def add(self, text: str) -> None:
        """Write directly after the last word, before any requested space."""
        self._write(text, shown=False)

    def add_rule(self) -> None:
        """Write a horizontal line."""
        self.request_gap(BLANK)
        self._begin()
        self._write("-" * max(1, min(20, self._space_left())), shown=False)
        self.request_gap(BLANK)

    def position(self) -> int:
        """Return the current position on the page."""
        return len(self._parts)

    def text_since(self, position: int) -> str:
        """Return the text that was written after this position."""
        return "".join(self._parts[position:])

    def text(self) -> str:
        """Return the whole text; no line ends in blanks."""
        lines = "".join(self._parts).split("\n")
        return "\n".join([line.rstrip(" \t") for line in lines]).strip("\n")

    def begin_row(self) -> None:
        """Begin a row inside the current one, if there is one."""
        self.row = Row(self.row)

    def begin_cell(self) -> None:
        """Begin a cell of the innermost row."""
        row = self.row
        if row is not None and row.started:
            row.first_in_cell = True
            row.new_cells += 1

    def end_row(self, *, data: bool) -> None:
        """Decide how the cells are separated. In a table of ``data`` empty cells count too."""
        row, self.row = self.row, self.row and self.row.outer
        if row is None or not row.started:
            return
        joined = row.breaks == self.breaks and self.shown - row.shown <= MAX_ROW_WIDTH
        for position, cells in row.separators:
            self._parts[position] = (" |" * (cells if data else 1) + " ") if joined else "\n\n"
        if joined and row.separators:
            self.gap = LINE
        else:
            self.breaks += len(row.separators)
            self.request_gap(BLANK)

    def _begin(self) -> None:
        """Write the space before a word."""
        separated = False
        row = self.row
        while row is not None and (row.first_in_cell or not row.started):
            if row.first_in_cell:
                separated = True
                row.separators.append((len(self._parts), row.new_cells))
                # Enough space for both forms of a separator; the tag of each cell was at least as long.
                self._parts.append("")
                self.size += 2 * row.new_cells + 1
            row.first_in_cell, row.new_cells = False, 0
            row = row.outer
        if separated:
            if self.bullet:
                self._start_line()
        elif self.gap >= LINE and self.size:
            self._parts.append("\n" * (self.gap - 1))
            self.size += self.gap - 1
            self.breaks += 1
            self._start_line()
        elif self.gap == SPACE and self.size:
            self._write(" ", shown=False)
        elif not self.size or self.bullet:
            self._start_line()
        self.gap = NONE
        self._start_rows()

    def _start_rows(self) -> None:
        row = self.row
        while row is not None and not row.started:
            row.started, row.breaks, row.shown = True, self.breaks, self.shown
            row = row.outer

    def _start_line(self) -> None:
        start = self.indent[: max(0, len(self.indent) - len(self.bullet))] + self.bullet
        self.bullet = ""
        if start and len(start) <= self._space_left():
            self._write(start, shown=False)

    def _space_left(self) -> int:
        """Return how many characters may be written before the text is as long as the HTML that was read."""
        return self.html_size - self.size

    def _write(self, text: str, *, shown: bool) -> None:
        self._parts.append(text)
        self.size += len(text)
        if shown:
            self.shown += len(text)


def _clean(text: str) -> str:
    """Return the text with each run of white space as one blank, and without invisible characters."""
    if text.isascii():
        clean = " ".join(text.split())
        if not clean.isprintable():
            clean = _CONTROLS.sub("", clean)
        if not clean:
            return " " if text[:1].isspace() else ""
        return f"{' ' if text[0].isspace() else ''}{clean}{' ' if text[-1].isspace() else ''}"
    return _CONTROLS.sub("", _WHITE_RUNS.sub(" ", _FILLERS.sub("", text)))
