"""The process in which contenders run; see ``workers``, which starts it.

It reads orders from its standard input, one JSON object a line, and answers each with one: what
the turn has taken.
"""

import argparse
import asyncio
import gc
import importlib
import json
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from benchmarks.turns import Company


class Stage(Protocol):
    """A module with contenders."""

    def contending(self, settings: Mapping[str, Any]) -> AbstractAsyncContextManager[Company]:
        """Open all that they need, and close it at the end."""


def _tell(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def _perform(stage: Stage, settings: Mapping[str, Any]) -> None:
    async with stage.contending(settings) as company:
        _tell({"notes": company.notes, "absent": company.absent})
        met = set()
        for line in sys.stdin:
            order = json.loads(line)
            name, turn = order["name"], company.turns[order["name"]]
            gc.collect()  # nobody cleans up after the one before
            await turn(order["warm"])
            if name not in met:  # what it keeps from its first turn on is no burden for others
                met.add(name)
                gc.collect()
                gc.freeze()
            wall, started = time.perf_counter(), time.process_time()
            await turn(order["count"])
            processor = time.process_time() - started
            _tell({"processor": processor, "wall": time.perf_counter() - wall})


def _run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", help="the module of the contenders")
    parser.add_argument("settings", type=json.loads, help="what it gets, as JSON")
    parser.add_argument("without", nargs="*", help="modules that are as if not installed")
    options = parser.parse_args()
    for name in options.without:
        sys.modules[name] = None  # type: ignore[assignment] # the documented way to forbid an import
    stage: Any = importlib.import_module(options.stage)
    asyncio.run(_perform(stage, options.settings))


if __name__ == "__main__":
    _run()
