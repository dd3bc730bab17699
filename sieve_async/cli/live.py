"""The live view at a terminal: drawn anew again and again, in colours where rich is installed."""

import io
import os
import shutil
from typing import TYPE_CHECKING, TextIO

from sieve_async.cli.lines import duration
from sieve_async.cli.progress import write
from sieve_async.cli.tally import Running, Tally, slowest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import ConsoleRenderable

_COLOURS = {"finished": "green", "error": "red", "cancelled": "yellow", "processing": "blue"}
_UNSEEN_COLOUR = "bright_black"
# Narrower than this, a bar and columns are not worth their room.
_NARROW = 40
_MOST_SLOW = 5


class Live:
    """Draws over what it drew before, and never over anything else.

    Args:
        stream: The terminal.
        has_colours: Whether colours are welcome.
        pause: Seconds from one picture to the next.
    """

    tells_failures = False  # the results stand on the same screen, or in a file that was chosen

    def __init__(self, stream: TextIO, *, has_colours: bool, pause: float) -> None:
        self.pause = pause
        self._stream = stream
        self._has_colours = has_colours
        self._height = 0
        self._hidden = ""

    def show(self, tally: Tally, running: list[Running]) -> None:
        """Draw a picture in the place of the last one."""
        columns, rows = self._size()
        drawn = self._draw_with_rich(tally, running, columns, rows)
        lines = [tally.line(running)[: columns - 1]] if drawn is None else drawn
        self._hidden = "\n".join(lines)
        write(self._stream, f"{self._clearing()}{self._hidden}")
        self._height = len(lines)

    def tell(self, text: str) -> None:
        """Write one line above the picture."""
        was_shown = self._height > 0
        self.hide()
        write(self._stream, f"{text}\n")
        if was_shown:
            self.show_again()

    def hide(self) -> None:
        """Take the picture away."""
        if self._height:
            write(self._stream, self._clearing())
            self._height = 0

    def show_again(self) -> None:
        """Draw the last picture once more: results may come faster than new ones are drawn."""
        if self._hidden and not self._height:
            write(self._stream, self._hidden)
            self._height = self._hidden.count("\n") + 1

    def _clearing(self) -> str:
        up = f"\x1b[{self._height - 1}A" if self._height > 1 else ""
        return f"\r{up}\x1b[J" if self._height else ""

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            size = shutil.get_terminal_size()
        return (size.columns or 80), (size.lines or 24)

    def _draw_with_rich(
        self, tally: Tally, running: list[Running], columns: int, rows: int
    ) -> list[str] | None:
        """The lines of a picture; None where there is no rich, or no room for more than a line."""
        if columns < _NARROW or rows < 5:
            return None
        try:
            from rich.console import Console, Group  # noqa: PLC0415 - it may not be there
        except ImportError:
            return None
        file = io.StringIO()
        console = Console(
            file=file,
            width=columns - 1,
            height=rows,
            force_terminal=True,
            no_color=not self._has_colours,
            legacy_windows=False,
            highlight=False,
        )
        console.print(Group(*_parts(tally, running, min(_MOST_SLOW, rows - 4), columns)))
        return file.getvalue().splitlines()[: rows - 1]


def _parts(
    tally: Tally, running: list[Running], most_slow: int, columns: int
) -> "Sequence[ConsoleRenderable]":
    from rich.align import Align  # noqa: PLC0415 - as above
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    def line(*pieces: tuple[str, str]) -> Text:
        return Text.assemble(*pieces, no_wrap=True, overflow="ellipsis")

    counts = [
        piece
        for word, count in tally.counts(running).items()
        for piece in ((f"{word} ", _COLOURS.get(word, _UNSEEN_COLOUR)), (f"{count:,}  ", "bold"))
    ]
    slow = [
        line(("slowest  " if not number else "         ", _UNSEEN_COLOUR), (each[0], ""))
        + line((f"  {duration(each[2])}", _UNSEEN_COLOUR))
        for number, each in enumerate(slowest(running, most_slow))
    ]
    bar = ProgressBar(total=max(tally.total, 1), completed=tally.ended, width=min(columns - 1, 60))
    return [
        Align.left(bar),
        line((f"{tally.headline()}, {duration(tally.elapsed)} so far", "")),
        line(*counts),
        *slow,
    ]
