"""Any bytes as a body of JSON."""

from typing import Any

from faults.fuzz import plain_json, without_orjson
from faults.fuzz.plain_json import TooManyError, UnreadableError
from sieve_async.decode import parsing

_KEYS = ("id", "status")


def outcome(read: Any, body: bytes) -> str:
    """What comes of a body, as a text that tells apart all that differs: 1, 1.0 and True too."""
    try:
        return repr(read(body))
    except (ValueError, UnreadableError) as error:
        return type(error).__name__


def target(data: bytes) -> None:
    """Both parsers take what JSON is and nothing else, and say of it what it says."""
    fast, plain = outcome(parsing.parse, data), outcome(without_orjson.parse, data)
    assert fast == plain
    try:
        value = plain_json.read(data)
    except TooManyError:
        assert fast == "TooManyPartsError"
        return
    except UnreadableError:
        assert fast == "NotJSONError"
    else:
        assert fast == repr(value)
        _check_keys(data, value)
    _check_peeks(data, is_json=fast != "NotJSONError")


def _check_keys(body: bytes, value: object) -> None:
    """Keys that stand twice are found, in the object itself and nowhere else."""
    if not isinstance(value, dict):
        return
    is_repeated = not plain_json.repeated(body).isdisjoint(_KEYS)
    assert parsing.repeats_a_key(body, _KEYS) == is_repeated
    assert without_orjson.repeats_a_key(body, _KEYS) == is_repeated


def _check_peeks(body: bytes, *, is_json: bool) -> None:
    """A quick look takes what a careful one takes, and besides only what is nested too deep."""
    for peek in (parsing.peek, without_orjson.peek):
        if is_json:
            peek(body)
        elif outcome(peek, body) != "NotJSONError":
            assert plain_json.depth(plain_json.text_of(body)) > plain_json.DEEPEST
