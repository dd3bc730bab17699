"""From bytes to JSON: what the standard library reads is read, with and without orjson alike."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from sieve_async.decode import parser
from sieve_async.decode.parser import NotJSONError, parse


@pytest.fixture(params=["orjson", "json"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs as where orjson is installed, and as where it is not."""
    assert parser._loads is not None
    if request.param == "json":
        monkeypatch.setattr(parser, "_loads", None)


def test_bodies() -> None:
    """A body says what the standard library reads in it."""
    for body in (
        *(b'{"a": 1}', b" [] ", b'"\\ud800"', b'\xef\xbb\xbf{"a": 1}', b'{"a": 1, "a": 2}'),
        *(b"[0.1, 1e5, -0.0, 1E-7]", '{"a": "h\u00e9"}'.encode(), b"Infinity", b"null"),
        *(b"[1e999, -1e999, -Infinity]", b"123456789012345678", b"[" * 300 + b"]" * 300),
    ):
        assert parse(body) == json.loads(body.decode("utf-8-sig"))
    value: Any = parse(b'{"a": NaN}')
    assert math.isnan(value["a"])


def test_bodies_that_are_no_json() -> None:
    """What the standard library refuses is not JSON: no other error leaves."""
    for body in (
        *(b"", b" ", b"{", b"[1,]", b"{'a': 1}", b"nan", b"<html>", b'"\xff"', b"[1] x", b"\0"),
        *(b"[" * 100_000, b"1" * 5000, b"0x10", b'{"a": 01}', b'"\n"', b'"\xed\xa0\x80"'),
        *('{"a": 1}'.encode(coding) for coding in ("utf-16", "utf-16-le", "utf-32")),
    ):
        with pytest.raises(NotJSONError, match="the body is not JSON") as caught:
            parse(body)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_long_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers beyond 64 bits are exact without orjson, and floats with it."""
    body = b"[18446744073709551615, 18446744073709551616]"
    assert parse(body) == [2**64 - 1, float(2**64)]
    monkeypatch.setattr(parser, "_loads", None)
    assert parse(body) == [2**64 - 1, 2**64]


WITHOUT_ORJSON = """
import sys
sys.modules["orjson"] = None
from sieve_async.decode import parser
print(parser._loads, parser.parse(b'{"a": [1, NaN]}'))
"""


def test_without_orjson() -> None:
    """Where orjson is not installed, the standard library does all of it."""
    done = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", WITHOUT_ORJSON], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None {'a': [1, nan]}"
