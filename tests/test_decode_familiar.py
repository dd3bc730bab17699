"""Functions that are known before they are parsed: that changes nothing in what is read."""

import json
import re
from itertools import count
from typing import Any

import pytest

from sieve_async import DecodeError, Function, Job, JobStatus
from sieve_async.decode import parse_model, parse_state
from sieve_async.decode.parsing import parse
from sieve_async.decode.structure import structure
from sieve_async.endpoints import get_job
from sieve_async.messages import Response

NUMBERS = count()
VERSION = {
    "id": "v",
    "build_status": "ready",
    "python_packages": ["torch"],
    "current_workers": {"starting": 1, "idle": 2},
    "gpu": True,
}


def answer(body: str) -> Response:
    """A good answer."""
    return Response(200, (), body.encode("utf-8", "surrogatepass"), str)


def read(body: str) -> Job:
    """Read a job."""
    return parse_model(get_job("j"), answer(body))


def careful(body: str) -> Job:
    """Read it the careful way, which knows nothing of earlier ones."""
    document: Any = parse(body.encode())
    return structure(document, Job)


def spelled(function: str, before: str = "", after: str = "") -> str:
    """A job of a function that is spelled so."""
    return f'{{"id":"j",{before}"function":{function},"status":"finished"{after}}}'


def function_with(**fields: Any) -> str:
    """The spelling of a function that no test has used before."""
    name = f"a function with the number {next(NUMBERS):08}"
    return json.dumps({"name": name, "owner_name": "sieve", **fields}, separators=(",", ":"))


def known(**fields: Any) -> str:
    """The spelling of a function that is known by now."""
    function = function_with(**fields)
    for _ in range(200):  # those that were learned in vain make it take longer
        if read(spelled(function)).function is read(spelled(function)).function:
            return function
    raise AssertionError("it is never known")


@pytest.mark.parametrize("space", ["", " ", "\n\t "])
def test_known_functions(space: str) -> None:
    """Two jobs that say the same of their function have it in common."""
    function = known(tags=["a"], latest_version=VERSION)

    first, second = read(spelled(function)), read(spelled(function, after=',"error":"no"'))

    assert first.function is second.function
    assert second == careful(spelled(function, after=',"error":"no"'))
    assert read(spelled(space + function)) == careful(spelled(function))


@pytest.mark.parametrize(
    "workers",
    [
        "{}",
        "null",
        '{"starting":7,"idle":0}',
        '{"starting":7,"new":1}',
        '{"starting":7,"new":{"a":{}}}',
        '{"starting":7,"new":"}"}',
        '{"starting":7,"new":123456789012345678901234567890}',
        ' {"idle" : null}',
    ],
)
def test_workers(workers: str) -> None:
    """Workers are those that the answer gives, and all else is that of the function."""
    function = known(latest_version=VERSION)
    body = spelled(function.replace('{"starting":1,"idle":2}', workers))
    for _ in range(2):
        assert repr(read(body)) == repr(careful(body))
        assert repr(read(spelled(function))) == repr(careful(spelled(function)))


@pytest.mark.parametrize("workers", ['{"idle":true}', "[]", '{"idle":1.0}', "7", '{"idle":"}"}'])
def test_workers_that_do_not_fit(workers: str) -> None:
    """What does not fit is refused with its path, also in a function that is known."""
    function = known(latest_version=VERSION)
    for _ in range(2):
        with pytest.raises(DecodeError, match=re.escape("$.function.latest_version.current_work")):
            read(spelled(function.replace('{"starting":1,"idle":2}', workers)))


def test_broken_workers() -> None:
    """What is no JSON is refused, however well the rest is known."""
    function = known(latest_version=VERSION)
    for broken in ("", "{", '{"idle":}', '{"idle":1', "{}}", "}", '"}', "{},{}"):
        with pytest.raises(DecodeError):
            read(spelled(function.replace('{"starting":1,"idle":2}', broken)))


def test_what_only_looks_like_the_function() -> None:
    """A function that is known stands for the function of the job alone."""
    function = known(latest_version=VERSION)
    other = '{"name":"other"}'
    quoted = json.dumps(f'"function":{function}')
    for body in (
        spelled(other, before=f'"children":{{"function":{function}}},'),
        spelled(other, after=f',"children":{{"function":{function}}}'),
        spelled(other, before=f'"function":{function},'),
        spelled(function, before=f'"function":{other},'),
        spelled(function, before=f'"children":{{"function":{function}}},'),
        spelled(other, before=f'"run_id":{quoted},'),
        spelled("null", before=f'"new\\"function":{function},'),
        spelled("null", after=f',"outputs":[{{"data":{{"function":{function}}}}}]'),
    ):
        assert repr(read(body)) == repr(careful(body))
        assert repr(read(body)) == repr(careful(body))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "}"),
        ("{", ""),
        ('"a":,', ""),
        ('"a', ""),
        ("", ',"error":"'),
        ("", ',"error":NaN'),
        ("", ",,"),
    ],
)
def test_broken_bodies(before: str, after: str) -> None:
    """A body that is no JSON is refused, also with a function in it that is known."""
    function = known(latest_version=VERSION)
    with pytest.raises(DecodeError):
        read(spelled(function, before, after))


@pytest.mark.parametrize(
    "after", [',"id":"j"', ',"status":"error"', ',"\\u0069d":"j"', ',"s\\u0074atus":"error"']
)
def test_keys_that_stand_twice(after: str) -> None:
    """An id or status that stands twice is refused, also with a function that is known."""
    function = known(latest_version=VERSION)
    body = spelled(function, after=after)
    for read_any in (parse_model, parse_state):
        with pytest.raises(DecodeError, match="more than once") as caught:
            read_any(get_job("j"), answer(body))
        assert caught.value.payload == json.loads(body)


def test_other_fields_that_do_not_fit() -> None:
    """A field of the job that does not fit is named, and the payload is the answer itself."""
    body = spelled(known(latest_version=VERSION), after=',"error":7')

    with pytest.raises(DecodeError, match=re.escape("$.error")) as caught:
        read(body)

    assert caught.value.payload == json.loads(body)


def test_polls() -> None:
    """A poll sees the same of a job whose function is known, and so does its model."""
    body = spelled(known(latest_version=VERSION), after=',"outputs":[{},{}],"run_id":"r"')
    running = body.replace("finished", "processing")

    ended, running_state = (parse_state(get_job("j"), answer(text)) for text in (body, running))

    assert (ended.status, ended.outputs, ended.run_id) == (JobStatus.FINISHED, 2, "r")
    assert ended.model() == careful(body)
    assert running_state.model() == careful(running)


@pytest.mark.parametrize(
    "value", [1, 1.0, True, 2**64, float(2**64), "\ud800", "1", None, [], {}], ids=range(10)
)
def test_functions_that_python_takes_for_equal(value: Any) -> None:
    """What differs in nothing but a type is not the same, whatever came before."""
    for before in (1, True, 1.0, 2**64, float(2**64)):
        assert repr(function_of({"new": before}).extra["new"]) == repr(before)

        assert repr(function_of({"new": value}).extra["new"]) == repr(value)


def test_misfits_are_not_known() -> None:
    """A function that does not fit spoils each answer that has it, also after one that fits."""
    assert function_of({"featured_key": 1}).featured_key == 1
    for wrong in (True, 1.0, "1"):
        for _ in range(2):
            with pytest.raises(DecodeError, match=re.escape("$.function.featured_key")):
                function_of({"featured_key": wrong})


def test_no_more_is_known_than_has_room() -> None:
    """Neither many functions nor large ones are kept."""
    first = known()
    model = read(spelled(first)).function

    for _ in range(70):
        known()
    large = function_with(readme="x" * 40_000)

    assert read(spelled(first)).function is not model
    assert read(spelled(large)).function is not read(spelled(large)).function


def test_non_ascii_functions() -> None:
    """A function may hold any character, in UTF-8 or escaped, and what follows it is read."""
    for text in ("Grüße \U0001f600", "\\ud83d\\ude00", '\\\\\\"}{'):
        function = known(tags=["t"]).replace('["t"]', f'["{text}"]')
        for _ in range(4):
            body = spelled(function, after=',"error":"é"')
            assert repr(read(body)) == repr(careful(body))


def function_of(document: dict[str, Any]) -> Function:
    """Read a function, with a text in it that makes it worth knowing."""
    body = json.dumps(
        {"id": "j", "status": "finished", "function": {"readme": "x" * 60, **document}}
    )
    function = read(body).function
    assert function is not None
    return function
