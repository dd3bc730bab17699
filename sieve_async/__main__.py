"""``python -m sieve_async`` is the same as the command ``sieve-async``."""

import sys

from sieve_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
