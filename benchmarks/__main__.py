"""Run the benchmarks, and say which targets hold and which are missed."""

import argparse
import importlib

from benchmarks.harness import Target, finish

NAMES = ("lookup", "decode", "poll", "watch", "memory", "imports", "soak")


def run() -> None:
    """Run the benchmarks that the command line names, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="toy size: do the programs run?")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if options.quick:
        print("Toy size: only promises are checked, for the figures mean nothing.")
    targets: list[Target] = []
    for name in options.names or NAMES:
        print(f"\n== {name}", flush=True)
        targets += importlib.import_module(f"benchmarks.{name}").main(["--quick"] * options.quick)
    finish(targets, quick=options.quick)


if __name__ == "__main__":
    run()
