"""From JSON to models: what holds for any answer, however it is spoilt."""

import copy
import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.sample_documents import DOCUMENT, Document
from sieve_async import Job
from sieve_async.decode.structure import explain, structure

STEADY = settings(derandomize=True, deadline=None, max_examples=300)

SCALARS = st.sampled_from([None, True, 0, 1.5, "", "text", "2024-03-05T01:41:59Z"])
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "data", "inputs", "new"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def places(value: Any) -> Iterator[tuple[Any, str | int]]:
    """Find everything in a document that can be replaced: what holds it, and under which key."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@st.composite
def changed_documents(draw: st.DrawFn) -> Document:
    """Draw a document that is like a good one but in up to four places."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(0, 4))):
        holder, key = draw(st.sampled_from(list(places(document))))
        if isinstance(holder, dict) and draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = draw(JSON)
    return document


def says(out: Any, value: Any) -> bool:
    """Whether a model, or a part of one, says the same as a JSON value."""
    if value is None or (value == "" and out is None):
        return not out or attrs.has(type(out))
    if isinstance(out, tuple):
        return len(out) == len(value) and all(map(says, out, value))
    if attrs.has(type(out)):
        return all(says(out.extra.get(key, getattr(out, key, None)), value[key]) for key in value)
    if isinstance(out, dict):
        return out.keys() == value.keys() and all(says(out[key], value[key]) for key in out)
    if isinstance(out, datetime | StrEnum):
        return isinstance(value, str) and (isinstance(out, datetime) or out == value)
    return type(out) is type(value) and bool(out == value)


@STEADY
@given(changed_documents())
def test_the_two_passes_agree(document: Document) -> None:
    """What the fast pass refuses the detailed one explains, and what it takes is flawless."""
    try:
        structure(document, Job)
    except ValueError:
        taken = False
    else:
        taken = True

    problems = explain(document, Job)

    assert problems
    assert taken == (problems == ("$: does not fit",))
    assert all(re.match(r"\$[.\[:]", problem) for problem in problems)


@STEADY
@given(changed_documents())
def test_nothing_is_lost_or_coerced(document: Document) -> None:
    """Whatever an answer says stands in the model that comes out of it, as it was said."""
    before = copy.deepcopy(document)
    try:
        job = structure(document, Job)
    except ValueError:
        job = None

    assert job is None or says(job, before)
    assert document == before
