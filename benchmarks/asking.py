"""Asking for many ids, so many at once, and never for the same one twice."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import attrs

from benchmarks.server import size
from benchmarks.turns import Company, Turn

API_KEY = "a-key-for-nobody-but-this-benchmark"

Ask: TypeAlias = Callable[[str], Awaitable[Any]]

_counter = itertools.count()


@attrs.frozen
class Contender:
    """One way to look something up.

    Attributes:
        word: What its ids begin with; it says what the server answers.
        ask: Looks up one id.
        identify: Finds the id in what it brought; None if there is none in it.
    """

    word: str
    ask: Ask
    identify: Callable[[Any], str] | None


def attribute(answer: Any) -> str:
    """The id of an answer that is an object of a class."""
    found: str = answer.id
    return found


def item(answer: Any) -> str:
    """The id of an answer that is a JSON object."""
    found: str = answer["id"]
    return found


def ids(word: str, count: int) -> Iterator[str]:
    """Ids that look like those of real jobs, each of them new: yarl remembers URLs."""
    return (f"{word}-{next(_counter):08x}-4c5e-8f2d-7b6a5c4d3e2f" for _ in range(count))


def asking(contender: Contender, in_flight: int) -> Turn:
    """A turn of so many lookups."""

    async def turn(count: int) -> None:
        waiting = ids(contender.word, count)

        async def work() -> None:
            for id_ in waiting:  # the workers share the iterator, so all are busy until its end
                await contender.ask(id_)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, count)):
                group.create_task(work())

    return turn


async def check(name: str, contender: Contender) -> None:
    """Make sure that it brings what it was asked for before its speed counts.

    Raises:
        RuntimeError: It does not.
    """
    (id_,) = ids(contender.word, 1)
    answer = await contender.ask(id_)
    found = id_ if contender.identify is None else contender.identify(answer)
    if found != id_:
        raise RuntimeError(f"{name} asked for {id_} and got {found}")


async def company(contenders: dict[str, Contender], in_flight: int) -> Company:
    """All contenders, checked."""
    for name, contender in contenders.items():
        await check(name, contender)
    return Company(
        {name: asking(contender, in_flight) for name, contender in contenders.items()},
        {name: size(contender.word) for name, contender in contenders.items()},
    )
