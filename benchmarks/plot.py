"""A picture and a table of what `lookup` measured: `python -m benchmarks.plot [JSON SVG]`.

Draws the processor time of one lookup, 64 in flight, and prints the table of the README. The colors
follow those of the reader's system.
"""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import attrs

from benchmarks.harness import in_one_line
from benchmarks.lookup import BARE, FULL, JOBS, OURS, SESSION, STREAMS

_FILES = tuple(Path(__file__).with_name(f"speed.{kind}") for kind in ("json", "svg"))
_JOB, _IN_FLIGHT = JOBS["compact"], 64
_LABELS = {
    STREAMS: "asyncio streams and orjson",
    BARE: "bare aiohttp and orjson",
    OURS: "sieve-async",
    FULL: "sieve-async, full job",
    SESSION: "sieve-async, caller's session",
    "httpx": "httpx",
    "aiobotocore": "aiobotocore",
    "openai": "openai",
    "anthropic": "anthropic",
    "replicate": "replicate",
    "fal-client": "fal-client",
}
_WIDTH, _LEFT, _RIGHT = 720, 220, 70
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
    """One client."""

    label: str
    is_ours: bool
    microseconds: float  # processor time of one lookup
    times: float  # the same as a multiple of ours in the same comparison


def bars(figures: Mapping[str, Any]) -> list[Bar]:
    """The clients, the fastest first."""
    lookups = [
        lookup
        for lookup in figures["lookups"]
        if (lookup["job"], lookup["in_flight"]) == (_JOB, _IN_FLIGHT)
    ]
    ours = {
        lookup["case"]: lookup["microseconds"] for lookup in lookups if lookup["client"] == OURS
    }
    found: dict[str, Bar] = {}
    for lookup in lookups:
        name, took = lookup["client"], lookup["microseconds"]
        if name in _LABELS and name not in found:
            is_ours = name in {OURS, FULL, SESSION}
            found[name] = Bar(_LABELS[name], is_ours, took, took / ours[lookup["case"]])
    return sorted(found.values(), key=lambda bar: bar.microseconds)


def table(figures: Mapping[str, Any]) -> str:
    """The table of the README, with the date and the versions."""
    header = "| client | processor time, microseconds | lookups in a processor second | to ours |"
    lines = [header, "|---|---:|---:|---:|"]
    for bar in bars(figures):
        label = f"**{bar.label}**" if bar.is_ours else bar.label
        took, per_second = f"{bar.microseconds:.0f}", f"{1e6 / bar.microseconds:,.0f}"
        lines.append(f"| {label} | {took} | {per_second} | {bar.times:.2g} x |")
    lines += ["", textwrap.fill(f"{figures['date']}: {in_one_line(figures['versions'])}.", 118)]
    return "\n".join(lines)


def svg(figures: Mapping[str, Any]) -> str:
    """The picture."""
    shown = bars(figures)
    height = _TOP + _STEP * len(shown) + 14
    title = "Processor time of one job lookup"
    described = "; ".join(f"{bar.label}: {bar.microseconds:.0f} microseconds" for bar in shown)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    role = 'role="img" aria-labelledby="title description"'
    note = f"{_IN_FLIGHT} in flight over loopback; {figures['date']}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {role}>',
        f'<title id="title">{title}</title>',
        f'<desc id="description">{escape(described)}</desc>',
        f"<style>\n{_STYLE}\n</style>",
        f'<text class="title" x="12" y="22">{title}, in microseconds: less is better</text>',
        f'<text class="note" x="12" y="42">{escape(note)}</text>',
        *_draw(shown),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _draw(shown: Sequence[Bar]) -> Iterator[str]:
    longest = max(bar.microseconds for bar in shown)
    for number, bar in enumerate(shown):
        top = _TOP + _STEP * number
        width = max(2.0, (_WIDTH - _LEFT - _RIGHT) * bar.microseconds / longest)
        line = top + _BAR - 4
        kind, bold = (" ours", ' class="bold"') if bar.is_ours else ("", "")
        place = f'x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="3"'
        label = escape(bar.label)
        yield f'<text{bold} x="{_LEFT - 10}" y="{line}" text-anchor="end">{label}</text>'
        yield f'<rect class="bar{kind}" {place}/>'
        yield f'<text{bold} x="{_LEFT + width + 8:.1f}" y="{line}">{bar.microseconds:.0f}</text>'


def _plot(source: Path, picture: Path) -> None:
    figures = json.loads(source.read_text("utf-8"))
    picture.write_text(svg(figures), "utf-8")
    print(table(figures))


if __name__ == "__main__":
    if len(sys.argv) not in {1, 3}:
        sys.exit(__doc__)
    _plot(*(map(Path, sys.argv[1:]) if sys.argv[1:] else _FILES))
