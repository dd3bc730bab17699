"""The fast way from bytes to a model: what it takes is what the careful way makes of it."""

import copy
import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sieve_async import DecodeError, InputOutput, Job, JobStatus
from sieve_async.decode import parse_model, parse_state
from sieve_async.decode.parsing import parse, peek
from sieve_async.decode.structure import structure, structure_quickly
from sieve_async.endpoints import get_job
from sieve_async.messages import Response

STEADY = settings(derandomize=True, deadline=None, max_examples=300)
NUMBERS = (
    st.integers(-(2**66), 2**66)
    | st.sampled_from([sign * 2**exponent for sign in (-1, 1) for exponent in (53, 62, 63, 64)])
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    NUMBERS | st.sampled_from([None, True, "text"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = ["inputs", "outputs", "schema", "children", "extra", "nested extra", "latest version"]


def document_with(place: str, value: Any) -> dict[str, Any]:
    """A job that has a value where the API says "anything"."""
    fields: dict[str, dict[str, Any]] = {
        "inputs": {"inputs": {"a": {"data": value}}},
        "outputs": {"outputs": [{"data": 1}, [{"data": value}]]},
        "schema": {"outputs": [{"schema": {"a": value}}]},
        "children": {"children": {"a": value}},
        "extra": {"new": value},
        "nested extra": {"restarts": [{"new": value}]},
        "latest version": {
            "function": {
                "latest_version": {
                    "id": "v",
                    "build_status": "ready",
                    "environment_variables": [value],
                }
            }
        },
    }
    return {"id": "j", "status": "finished", **fields[place]}


def answer(document: dict[str, Any]) -> Response:
    """The answer that holds a document."""
    return Response(200, (), json.dumps(document).encode(), str)


def nested(depth: int) -> Any:
    """An array in an array in an array."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@STEADY
@given(st.sampled_from(PLACES), VALUES)
def test_exact_or_in_doubt(place: str, value: Any) -> None:
    """What the fast way takes it has read to the last digit; the rest it leaves to the other."""
    body = answer(document_with(place, value)).body
    document, exact = peek(body), parse(body)
    assert isinstance(document, dict)
    assert isinstance(exact, dict)

    quick, careful = structure_quickly(document, Job), structure(exact, Job)

    assert quick is None or repr(quick) == repr(careful)
    assert repr(parse_model(get_job("j"), answer(document_with(place, value)))) == repr(careful)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_long_integers(place: str, number: int) -> None:
    """An integer that the fast parser would round is read exactly, wherever it stands."""
    for value in (number, [[number]], {"a": {"b": number}}):
        response = answer(document_with(place, value))

        models = [parse_model(get_job("j"), response), parse_state(get_job("j"), response).model()]

        assert all(str(number) in repr(model) for model in models)


@pytest.mark.parametrize("place", PLACES)
def test_usual_values_are_beyond_doubt(place: str) -> None:
    """Texts, floats and nested values of any usual kind are not parsed twice."""
    document = document_with(place, {"segments": [{"start": 0.25, "words": ["a", None, True]}]})

    assert structure_quickly(document, Job) == structure(document, Job)


@pytest.mark.parametrize("place", PLACES)
def test_depth(place: str) -> None:
    """What is nested as deep as it may be is read, and one level more is not JSON for us."""
    around = json.dumps(document_with(place, None)).partition("null")[0]
    most = 200 - sum(map(around.count, "[{")) + sum(map(around.count, "]}"))
    job = parse_model(get_job("j"), answer(document_with(place, nested(most))))

    assert "[" * most in repr(job)
    with pytest.raises(DecodeError, match="nested more than 200 deep"):
        parse_model(get_job("j"), answer(document_with(place, nested(most + 1))))


def careful(document: dict[str, Any]) -> Job | None:
    """What the careful way makes of a document; None when it does not fit."""
    try:
        return structure(document, Job)
    except ValueError:
        return None


ITEMS = st.dictionaries(
    st.sampled_from([*(field.name for field in attrs.fields(InputOutput)), "new"]),
    st.sampled_from(["text", "text", None, None, {"a": 1}, True, 1, 2.0**70]),
    max_size=4,
)


@STEADY
@given(st.lists(ITEMS | st.lists(ITEMS, max_size=2) | st.none(), max_size=4))
def test_arrays(items: list[Any]) -> None:
    """Items with the same keys, with others, with unknown ones or none: all are read as alone."""
    document = {"id": "j", "status": "finished", "outputs": items}

    quick = structure_quickly(document, Job)

    assert repr(quick) == repr(careful(document)) or (quick is None and "e+21" in repr(items))


def test_any_array() -> None:
    """However many sets of keys have come before, the next one is read too."""
    names = [field.name for field in attrs.fields(InputOutput) if field.name != "extra"]
    for number in range(2 ** len(names)):
        keys = [name for place, name in enumerate(names) if number >> place & 1]
        item: dict[str, Any] = dict.fromkeys(keys)

        job = structure_quickly({"id": "j", "status": "finished", "outputs": [item] * 2}, Job)

        assert job == Job("j", JobStatus.FINISHED, outputs=(InputOutput(),) * 2)


def test_shared_extra() -> None:
    """Models without extra keys share one empty ``extra``, which nobody can change."""
    job = parse_model(get_job("j"), answer(document_with("outputs", 1)))
    extra: Any = job.extra

    assert (extra, repr(extra), isinstance(extra, dict)) == ({}, "{}", True)
    for change in (extra.__setitem__, extra.setdefault):
        with pytest.raises(TypeError, match="immutable"):
            change("a", 1)
    for change in (extra.update, extra.__ior__):
        with pytest.raises(TypeError, match="immutable"):
            change({"a": 1})
    assert job.extra == {}


def test_copies_of_shared_extra() -> None:
    """A copy of a model has a plain dict for its ``extra``, however it was made."""
    job = parse_model(get_job("j"), answer(document_with("outputs", 1)))

    for made in (copy.deepcopy(job), pickle.loads(pickle.dumps(job))):
        assert made == job
        assert type(made.extra) is dict
    assert type(copy.copy(job.extra)) is dict
    assert attrs.asdict(job)["extra"] == {}
    assert (
        Job("j", JobStatus.FINISHED, outputs=(InputOutput(data=1), (InputOutput(data=1),))) == job
    )
