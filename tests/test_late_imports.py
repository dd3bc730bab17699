"""What is imported late, for few need it."""

import subprocess
import sys

ROOMS = """
import sys

before = {*sys.modules}
from sieve_async import SieveClient

print(*sorted({"cattrs", "html", "sieve_async.watching"} & ({*sys.modules} - before)))
"""
FULL = """
import resource
from sieve_async import SieveClient, TransportError

client = SieveClient("k" * 40)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
try:
    client.as_completed(["a"])
except TransportError as error:
    print(error.reason, error.__context__)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
client.as_completed(["a"])
"""


def run(program: str) -> str:
    """What a program prints in an interpreter of its own."""
    done = subprocess.run(  # noqa: S603 - the programs above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_rooms() -> None:
    """To import the client imports nothing of what only some of its calls need."""
    assert run(ROOMS) == ""


def test_no_descriptors_left() -> None:
    """Where files cannot be read now, that is an error of ours, and the next call can do it."""
    assert run(FULL) == "the watcher cannot be loaded: Too many open files None"
