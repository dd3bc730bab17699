"""Show what ``lookup`` found: ``python -m benchmarks.plot [FIGURES.json PLOT.svg]``.

Draws bars of processor time for one lookup of the full job, 64 in flight, and prints the table of
the README. The colours follow those of the reader's system, wherever the picture is shown.
"""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import attrs

from benchmarks.comparing import in_a_line

_FILES = tuple(Path(__file__).with_name(f"speed.{kind}") for kind in ("json", "svg"))
_JOB, _IN_FLIGHT = "full", 64
_OURS = "get_job"
_LABELS = {
    "asyncio streams, by hand": "asyncio streams and orjson",
    "aiohttp + orjson": "bare aiohttp and orjson",
    _OURS: "sieve-async",
    "httpx": "httpx",
    "aiobotocore": "aiobotocore",
    "openai": "openai",
    "anthropic": "anthropic",
    "replicate": "replicate",
    "fal": "fal-client",
}
_WIDTH, _LEFT, _RIGHT = 720, 210, 70
_TOP, _STEP, _BAR = 58, 26, 18
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.note { font-size: 11px; fill: #59636e }
.bar { fill: #8c959f }
.ours { fill: #0969da }
.bold { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .note { fill: #9198a1 }
  .bar { fill: #656c76 }
  .ours { fill: #4493f8 }
}"""


@attrs.frozen
class Bar:
    """One client.

    Attributes:
        name: Its name in the figures.
        took: Microseconds of processor for a lookup.
        times: How many times as much that is as ours in the same comparison.
    """

    name: str
    took: float
    times: float

    @property
    def label(self) -> str:
        """What it is called here."""
        return _LABELS[self.name]


def bars(figures: Mapping[str, Any]) -> list[Bar]:
    """Who is shown, the fastest first."""
    lookups = [
        lookup
        for lookup in figures["lookups"]
        if (lookup["job"], lookup["in_flight"]) == (_JOB, _IN_FLIGHT)
    ]
    ours = {
        lookup["case"]: lookup["microseconds"] for lookup in lookups if lookup["client"] == _OURS
    }
    found: dict[str, Bar] = {}
    for lookup in lookups:
        name, took = lookup["client"], lookup["microseconds"]
        if name in _LABELS:  # of those that occur twice, the first
            found.setdefault(name, Bar(name, took, took / ours[lookup["case"]]))
    return sorted(found.values(), key=lambda bar: bar.took)


def table(figures: Mapping[str, Any]) -> str:
    """The table of the README, and what was measured with what."""
    lines = [
        "| client | processor time, microseconds | lookups in a processor second | time to ours |",
        "|---|---:|---:|---:|",
    ]
    for bar in bars(figures):
        label = f"**{bar.label}**" if bar.name == _OURS else bar.label
        lines.append(f"| {label} | {bar.took:.0f} | {1e6 / bar.took:,.0f} | {bar.times:.2g} |")
    lines += ["", textwrap.fill(f"{figures['date']}: {in_a_line(figures['versions'])}.", 118)]
    return "\n".join(lines)


def svg(figures: Mapping[str, Any]) -> str:
    """The whole picture."""
    shown = bars(figures)
    height = _TOP + _STEP * len(shown) + 14
    title = "Processor time of one job lookup"
    described = "; ".join(f"{bar.label}: {bar.took:.0f} microseconds" for bar in shown)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    role = 'role="img" aria-labelledby="title description"'
    note = f"{_IN_FLIGHT} in flight over loopback, answers of some 3 KB; {figures['date']}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {role}>',
        f'<title id="title">{title}</title>',
        f'<desc id="description">{escape(described)}</desc>',
        f"<style>\n{_STYLE}\n</style>",
        f'<text class="title" x="12" y="22">{title}, in microseconds: less is better</text>',
        f'<text class="note" x="12" y="42">{escape(note)}</text>',
        *_drawn(shown),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _drawn(shown: Sequence[Bar]) -> Iterator[str]:
    longest = max(bar.took for bar in shown)
    for number, bar in enumerate(shown):
        top = _TOP + _STEP * number
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * bar.took / longest)
        line = top + _BAR - 4
        mine, bold = (" ours", ' class="bold"') if bar.name == _OURS else ("", "")
        place = f'x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="3"'
        yield f'<text{bold} x="{_LEFT - 10}" y="{line}" text-anchor="end">{bar.label}</text>'
        yield f'<rect class="bar{mine}" {place}/>'
        yield f'<text{bold} x="{_LEFT + width + 8:.1f}" y="{line}">{bar.took:.0f}</text>'


def _show(source: Path, picture: Path) -> None:
    figures = json.loads(source.read_text("utf-8"))
    picture.write_text(svg(figures), "utf-8")
    print(table(figures))


if __name__ == "__main__":
    if len(sys.argv) not in {1, 3}:
        sys.exit(__doc__)
    _show(*(map(Path, sys.argv[1:]) if sys.argv[1:] else _FILES))
