"""From a list of jobs to what it says: the same with and without orjson."""

import json

import pytest

from faults.fuzz import without_orjson
from faults.fuzz.asking_for import LIST, Read
from sieve_async.decode import parse_page
from sieve_async.messages import Response


@pytest.mark.parametrize("read", [parse_page, without_orjson.parse_page], ids=["fast", "plain"])
@pytest.mark.parametrize(
    ("next_offset", "expected"),
    [
        (None, None),
        (-1, None),
        (0, None),
        (True, None),
        (500.0, None),
        ("500", None),
        (1, 1),
        (500, 500),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (2**64, None),
        (10**30, None),
    ],
)
def test_next_offset(read: Read, next_offset: object, expected: int | None) -> None:
    """There is a further page where a whole number above zero says so that a list can reach."""
    body = json.dumps({"data": [], "next_offset": next_offset}).encode()

    assert read(LIST, Response(200, (), body, str)).next_offset == expected
