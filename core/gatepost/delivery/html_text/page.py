"""A page of plain text as it grows: words, and the space that belongs between them.

Space is not written when it is asked for but with the next word, so that of several wishes the largest counts and
none is left at the end. What is added to the words (line breaks, indentation, marks) is added only while the
page is shorter than what was read of the document: the text is never longer than the HTML.
"""

import re

NONE, SPACE, LINE, BLANK = range(4)
"""What belongs between two words; BLANK is an empty line."""

WIDE = 100
"""Characters of a row from which on its cells stand below each other."""

_WHITE = r"\t\n\r\f\v\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029"
_BLANKS = re.compile(rf"[ {_WHITE}]{{2,}}|[{_WHITE}]")
_INVISIBLE = r"\xad\u034f\u115f\u1160\u180e\u200b\u2060-\u2064\ufeff"
_JOINERS = r"\u200c\u200d\u2007\u2800"
# What mailers fill a preview line with. A joiner between two letters is spelling (Persian, emoji) and stays.
_FILLERS = re.compile(rf"[{_INVISIBLE}]|[{_JOINERS}](?=[ {_WHITE}{_INVISIBLE}{_JOINERS}]|\Z)")
_TRAILING = re.compile(r"(?<![ \t])[ \t]++(?=\n|\Z)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]+")


class Row:
    """A row of a table: whether it has become one line or several is known at its end."""

    __slots__ = ("begun", "breaks", "outer", "shown", "skipped", "slots", "wanting")

    def __init__(self, outer: "Row | None") -> None:
        self.outer = outer
        self.begun = False
        """Whether it shows anything yet."""
        self.wanting = False
        """Whether the next word is the first of a cell that is not the first."""
        self.skipped = 0
        """Empty cells since the last that was not."""
        self.slots: list[tuple[int, int]] = []
        """Places on the page that part cells, and how many."""
        self.breaks = self.shown = 0


class Page:
    """What has been written so far."""

    def __init__(self) -> None:
        self.read = 0
        """Characters of the document that have been read."""
        self.size = 0
        """Characters that have been written."""
        self.shown = 0
        """Of them, those of words."""
        self.breaks = 0
        """Lines that were ended."""
        self.gap = NONE
        self.indent = ""
        self.mark = ""
        """What the next line begins with, at the end of its indentation."""
        self.row: Row | None = None
        """The innermost row that is open."""
        self._parts: list[str] = []

    def want(self, gap: int) -> None:
        """Ask for space before the next word."""
        self.gap = max(self.gap, gap)

    def words(self, text: str) -> None:
        """Write text whose white space means no more than that there is some."""
        text = _clean(text)
        words = text.strip(" ")
        if not words:
            if text:
                self.want(SPACE)
            return
        if text[0] == " ":
            self.want(SPACE)
        self._begin()
        self._write(words, shown=True)
        self.gap = SPACE if text[-1] == " " else NONE

    def lines(self, text: str) -> None:
        """Write text as it stands, its lines and blanks included."""
        text = _CONTROLS.sub("", text)
        if text:
            self._begin()
            self._write(text, shown=True)
            self.breaks += text.count("\n")

    def add(self, text: str) -> None:
        """Write right behind the last word, before any space that was asked for."""
        self._write(text, shown=False)

    def rule(self) -> None:
        """Write a line across."""
        self.want(BLANK)
        self._begin()
        self._write("-" * max(1, min(20, self._room())), shown=False)
        self.want(BLANK)

    def since(self, mark: int) -> str:
        """What was written since ``here`` gave this mark."""
        return "".join(self._parts[mark:])

    def here(self) -> int:
        """A mark of this place."""
        return len(self._parts)

    def text(self) -> str:
        """All of it; no line ends in blanks."""
        return _TRAILING.sub("", "".join(self._parts)).strip("\n")

    def begin_row(self) -> None:
        self.row = Row(self.row)

    def begin_cell(self) -> None:
        """Begin a cell of the innermost row."""
        row = self.row
        if row is not None and row.begun:
            row.wanting = True
            row.skipped += 1

    def end_row(self, *, data: bool) -> None:
        """Decide how the cells are parted. In a table of ``data`` an empty cell is a cell too."""
        row, self.row = self.row, self.row and self.row.outer
        if row is None or not row.begun:
            return
        joined = row.breaks == self.breaks and self.shown - row.shown <= WIDE
        for place, skipped in row.slots:
            self._parts[place] = (" |" * (skipped if data else 1) + " ") if joined else "\n\n"
        if joined and row.slots:
            self.gap = LINE
        else:
            self.breaks += len(row.slots)
            self.want(BLANK)

    def _begin(self) -> None:
        """Write the space that belongs before a word."""
        slot = False
        row = self.row
        while row is not None and (row.wanting or not row.begun):
            if row.wanting:
                slot = True
                row.slots.append((len(self._parts), row.skipped))
                # Room for either form; each cell had a tag at least as long.
                self._parts.append("")
                self.size += 2 * row.skipped + 1
            row.wanting, row.skipped = False, 0
            row = row.outer
        if slot:
            if self.mark:
                self._start_line()
        elif self.gap >= LINE and self.size:
            self._parts.append("\n" * (self.gap - 1))
            self.size += self.gap - 1
            self.breaks += 1
            self._start_line()
        elif self.gap == SPACE and self.size:
            self._write(" ", shown=False)
        elif not self.size or self.mark:
            self._start_line()
        self.gap = NONE
        self._begin_rows()

    def _begin_rows(self) -> None:
        row = self.row
        while row is not None and not row.begun:
            row.begun, row.breaks, row.shown = True, self.breaks, self.shown
            row = row.outer

    def _start_line(self) -> None:
        start = self.indent[: max(0, len(self.indent) - len(self.mark))] + self.mark
        self.mark = ""
        if start and len(start) <= self._room():
            self._write(start, shown=False)

    def _room(self) -> int:
        return self.read - self.size

    def _write(self, text: str, *, shown: bool) -> None:
        self._parts.append(text)
        self.size += len(text)
        if shown:
            self.shown += len(text)


def _clean(text: str) -> str:
    """The text with each run of white space as one blank, and without what can't be seen."""
    if text.isascii():
        clean = " ".join(text.split())
        if not clean.isprintable():
            clean = _CONTROLS.sub("", clean)
        if not clean:
            return " " if text[:1].isspace() else ""
        return f"{' ' if text[0].isspace() else ''}{clean}{' ' if text[-1].isspace() else ''}"
    return _CONTROLS.sub("", _BLANKS.sub(" ", _FILLERS.sub("", text)))
