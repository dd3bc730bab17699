"""What the documents say about speed is what was measured."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
FIGURES, PLOT = ROOT / "benchmarks" / "speed.json", ROOT / "benchmarks" / "speed.svg"


def show(picture: Path) -> str:
    """Draw the figures that are kept, and return the table that is printed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "benchmarks.plot", str(FIGURES), str(picture)],
        cwd=ROOT,
        env=environment | {"PYTHONUTF8": "1"},
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout.strip()


def test_documents_show_what_was_measured(tmp_path: Path) -> None:
    """The table and the plot of the README are those of the figures that are kept."""
    table = show(tmp_path / "speed.svg")

    assert table in (ROOT / "README.md").read_text("utf-8")
    assert (tmp_path / "speed.svg").read_text("utf-8") == PLOT.read_text("utf-8")


def test_plot_can_be_read_by_everybody() -> None:
    """The plot is well formed, has a title and a description, and colours for dark screens."""
    plot = ET.parse(PLOT).getroot()  # noqa: S314 - our own file
    names = "{http://www.w3.org/2000/svg}"

    assert plot.findtext(f"{names}title")
    assert "sieve-async" in (plot.findtext(f"{names}desc") or "")
    assert "prefers-color-scheme: dark" in (plot.findtext(f"{names}style") or "")
    assert len(plot.findall(f"{names}rect")) > 3
