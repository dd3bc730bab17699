"""From bytes to JSON: the same with and without orjson, exact, and within bounds."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sieve_async.decode import parsing
from sieve_async.decode.parsing import parse, repeats_a_key

HERE = Path(__file__).parent
STEADY = settings(derandomize=True, deadline=None, max_examples=150)
MEBIBYTE = 1024 * 1024


def without_orjson() -> ModuleType:
    """Load a second copy of the module, as if orjson were not installed."""
    spec = importlib.util.spec_from_file_location("parsing_without_orjson", parsing.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        spec.loader.exec_module(copy)
    return copy


PLAIN = without_orjson()
BOTH: tuple[Callable[[bytes], object], ...] = (parse, PLAIN.parse)


def outcome(read: Callable[[bytes], object], body: bytes) -> str:
    """What comes of a body, as a text that tells apart all that differs: 1, 1.0 and True too."""
    try:
        return repr(read(body))
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


def nested(depth: int) -> bytes:
    """An array in an array in an array..."""
    return b"[" * depth + b"]" * depth


def test_the_copies_differ() -> None:
    """One of the two copies under test uses orjson, and the other does not."""
    assert parsing._parse_fast is not None
    assert PLAIN._parse_fast is None


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b" \t\r\n{} ", {}),
        (b"\xef\xbb\xbf[1]", [1]),
        ("\N{GRINNING FACE}é".join('""').encode(), "\N{GRINNING FACE}é"),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b'"\\ud800"', "\ud800"),
        (b'"\\uDFFF\\uD800x"', "\udfff\ud800x"),
        (b'{"\\ud800": "\\\\ud800"}', {"\ud800": "\\ud800"}),
        (b'"\\u0000\x7f"', "\0\x7f"),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2**64),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"[1" + b"0" * 4000 + b"]", [10**4000]),
        (b"9" * 4300, 10**4300 - 1),
        (b'"12345678901234567890"', "12345678901234567890"),
        (b"[1, 1.0, true]", [1, 1.0, True]),
        (b"-0", 0),
        (b"-0.0", -0.0),
        (b"1E3", 1000.0),
        (b"1e-999", 0.0),
        (b"0.1234567890123456789012345", 0.1234567890123456789012345),
        (b"1.7976931348623157e308", sys.float_info.max),
        (b"5e-324", math.ulp(0)),
        (b'{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}),
    ],
    ids=range(26),
)
def test_json(body: bytes, value: object) -> None:
    """What is JSON is read exactly: long integers, lone surrogates and a byte order mark too."""
    for read in BOTH:
        assert repr(read(body)) == repr(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html>",
        b"{",
        b'{"id": "j"',
        b"[1,]",
        b'{"a": 1,}',
        b"{'a': 1}",
        b"[1] [2]",
        b"// no\n1",
        b"nul",
        b"True",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"nan",
        b"1e999",
        b"[-1e999]",
        b"1.7976931348623159e308",
        b"9" * 400 + b".5",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"0x10",
        b"1_000",
        b"9" * 4301,
        b"-" + b"9" * 5000,
        b'"\x00"',
        b'"a\nb"',
        b'"\x1f"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b'{"\xe2\x82": 1}',
        b'"\\u12"',
        b'"\\ud8"',
        b'"\\x41"',
        b"\xef\xbb\xbf\xef\xbb\xbf1",
        b"\xff\xfe1\x00",
        "{}".encode("utf-16"),
        b"\x0c1",
        b"1\x00",
        b"\xc2\xa01",
    ],
    ids=range(44),
)
def test_no_json(body: bytes) -> None:
    """What is not JSON is refused, though Python's own parser takes some of it."""
    for read in BOTH:
        assert outcome(read, body) == "NotJSONError: the body is not JSON"


@pytest.mark.parametrize("depth", [1, 199, 200])
def test_deep_enough(depth: int) -> None:
    """Two hundred levels are read."""
    wide = b"[" + b"{}," * 200 + nested(depth - 1) + b"]" if depth > 1 else b"[]"
    bodies = [nested(depth), b'{"a":' * depth + b"1" + b"}" * depth, wide]

    for read in BOTH:
        assert [read(body) for body in bodies] == list(map(json.loads, bodies))


@pytest.mark.parametrize("depth", [201, 202, 1000, 1100, 5000, 100_000])
def test_too_deep(depth: int) -> None:
    """More than two hundred levels are refused, whatever the parser would take."""
    bodies = [nested(depth), b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth]
    bodies += [b'[{"a":' * (depth // 2) + b"[]" + b"}]" * (depth // 2)]

    for read in BOTH:
        assert {outcome(read, body)[:13] for body in bodies} == {"NotJSONError:"}


def test_wide_is_not_deep() -> None:
    """Any number of arrays beside each other, or of brackets in a text, is not deep."""
    for read in BOTH:
        assert read(b"[" + b"[],[{}]," * 1000 + b"1]") == [*[[], [{}]] * 1000, 1]
        assert read(json.dumps("[{" * 1000).encode()) == "[{" * 1000


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'"":1,', b"1,", b'":[{,",'])
def test_too_many_parts(unit: bytes) -> None:
    """A body of more than a million parts is refused, before it is parsed."""
    weight = sum(map(unit.count, b",:[[[{{{"))  # what opens something counts thrice
    body = b"[" + unit * (1_000_001 // weight + 1)

    for read in BOTH:
        assert outcome(read, body).startswith("TooManyPartsError: the body has more parts")


def test_many_parts() -> None:
    """A body of as many parts is read, and so is a large one that is one long text."""
    for read in BOTH:
        assert read(b"[" + b"1," * 999_997 + b"1]") == [1] * 999_998
        assert read(b'"' + b"x" * 4 * MEBIBYTE + b'"') == "x" * 4 * MEBIBYTE


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
TOKENS = st.sampled_from(
    [
        *b'{ } [ ] , : "" "\\ud800" \\ud8 \\ 0 1 - . .5 e9 E+400 NaN Infinity nul \xff'.split(),
        *(b" ", b"\n", b"\x00", b"\xc3\xa9", b"\xef\xbb\xbf", b"9" * 19, b"0" * 20),
    ]
)


@st.composite
def spoilt_bodies(draw: st.DrawFn) -> bytes:
    """Draw JSON that was cut, or into which something was thrown."""
    text = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()))
    body = text.encode("utf-8", "surrogatepass")
    first, second = sorted(draw(st.tuples(*[st.integers(0, len(body))] * 2)))
    return body[:first] + b"".join(draw(st.lists(TOKENS, max_size=2))) + body[second:]


@STEADY
@given(st.lists(TOKENS).map(b"".join) | spoilt_bodies())
def test_the_same_without_orjson(body: bytes) -> None:
    """Whatever comes, the result with orjson is the result without it, to the type."""
    assert outcome(parse, body) == outcome(PLAIN.parse, body)


@STEADY
@given(VALUES.filter(lambda value: "nan" not in repr(value) and "inf" not in repr(value)))
def test_round_trip(value: Any) -> None:
    """Every JSON value is read as it was written, to the type and the sign of zero."""
    assert repr(parse(json.dumps(value).encode())) == repr(value)


INNER = st.sampled_from([None, -1.5, "id", ",}", [], {}, {"id": [1, {"id": 2}]}, [{"status": "a"}]])


@STEADY
@given(
    st.lists(st.tuples(st.sampled_from(["id", "status", "di", ""]), INNER), max_size=5),
    st.sampled_from([None, 0, 3]),
)
def test_repeated_keys(pairs: list[tuple[str, Any]], indent: int | None) -> None:
    """A key that stands twice in the object itself is found, and none that stands deeper."""
    written = (f"{json.dumps(key)} : {json.dumps(value, indent=indent)}" for key, value in pairs)
    body = f"\n{{ {' , '.join(written)} }} ".encode()
    keys = [key for key, _ in pairs]

    assert repeats_a_key(body, ("id", "status")) == (
        keys.count("id") > 1 or keys.count("status") > 1
    )


def test_all_of_it_without_orjson() -> None:
    """The tables of decoding hold in an interpreter that has no orjson."""
    tables = ["decode", "decode_documents", "decode_strictness", "times"]
    program = """if True:
        import sys
        sys.modules["orjson"] = None
        import pytest
        code = pytest.main(sys.argv[1:])
        from sieve_async.decode import parsing
        sys.exit(code or parsing._parse_fast is not None)
    """
    # looptime looks for a loop, which only conftest.py would make.
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-W", "ignore:There is no current"]
    files = [str(HERE / f"test_{name}.py") for name in tables]

    run = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", program, *options, *files],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
