"""Completion for shells, when shtab is installed."""

import argparse
from collections.abc import Sequence


class PrintCompletion(argparse.Action):
    """Prints the script that teaches a shell the grammar, which is made by shtab."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, parser: argparse.ArgumentParser
    ) -> None:
        super().__init__(
            option_strings,
            dest,
            choices=("bash", "zsh", "tcsh"),
            help="print a completion script for this shell and exit (needs shtab)",
        )
        self._parser = parser

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Print it, and end the program."""
        del namespace, option_string
        try:
            import shtab  # noqa: PLC0415 - it may not be there, and help need not wait for it
        except ImportError:
            parser.error('completion needs shtab: pip install "sieve-async[cli]"')
        print(shtab.complete(self._parser, shell=str(values)))
        parser.exit()
