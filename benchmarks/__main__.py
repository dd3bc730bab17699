"""Run the benchmarks: every module of this package that has a ``main``."""

import argparse
import importlib
import pkgutil

import benchmarks


def names() -> list[str]:
    """The benchmarks there are."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return [
        name
        for name in sorted(modules)
        if name != "__main__" and hasattr(importlib.import_module(f"benchmarks.{name}"), "main")
    ]


def run() -> None:
    """Run the benchmarks that the command line names, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(names())}; all by default")
    parser.add_argument("--quick", action="store_true", help="toy size, to see that they run")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names()):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if options.quick:
        print("Toy size: this shows that the programs run, and their figures mean nothing.")
    for name in options.names or names():
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main(["--quick"] if options.quick else [])


if __name__ == "__main__":
    run()
