"""What the package requires of those below it, and why no less will do."""

import re
from importlib.metadata import metadata, requires

DISTRIBUTION = "sieve-async"


def required() -> dict[str, str]:
    """The requirements without extras: names and versions."""
    lines = [line for line in requires(DISTRIBUTION) or [] if "extra ==" not in line]
    names = [re.split("[^a-z-]", line, maxsplit=1)[0] for line in lines]
    return {name: line.removeprefix(name) for name, line in zip(names, lines, strict=True)}


def floor(versions: str) -> tuple[int, ...]:
    """The lowest version that is allowed."""
    found = re.search(r">=([0-9.]+)", versions)
    assert found is not None
    return tuple(map(int, found[1].split(".")))


def test_aiohttp_without_known_holes() -> None:
    """Older releases lose pooled connections, unpack bombs, and send credentials elsewhere."""
    assert floor(required()["aiohttp"]) >= (3, 14, 3)
    assert "<4" in required()["aiohttp"]


def test_python_that_counts_cancellations() -> None:
    """Before 3.11 a cancellation could not be told from one that a timeout made."""
    assert floor(metadata(DISTRIBUTION)["Requires-Python"]) >= (3, 11)


def test_few_and_no_rivals() -> None:
    """There are four requirements; of the two packages that own ``backoff`` only one."""
    assert sorted(required()) == ["aiohttp", "attrs", "backoff", "cattrs"]
