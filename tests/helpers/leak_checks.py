"""Checks of every exception that leaves the package: its type, its chain, and no API key."""

import asyncio
import copy
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from sieve_async import SieveClient, SieveError

KEY = "canary-4f1d9c7e-key"

_METHODS = {"get_job", "get_version", "wait_for_job", "wait_until_ready", "wait_for_jobs"}
_DEPENDENCIES = (
    "aiohttp",
    "cattrs",
    "backoff",
    "orjson",
    "msgspec",
    "json",
    "yarl",
    "multidict",
    "zlib",
    "ssl",
)


class CheckedClient(SieveClient):
    """A client that checks every exception it raises."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return _checked(found) if name in _METHODS else found


def _checked(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def observed(*arguments: Any, **settings: Any) -> Any:
        try:
            result = await call(*arguments, **settings)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            check_raised(error)
            raise
        for outcome in result if isinstance(result, list) else []:
            if outcome.error is not None:
                check_error(outcome.error)
        return result

    return observed


def check_raised(error: BaseException) -> None:
    """Assert that an exception is a safe SieveError, or comes from code of the caller."""
    if isinstance(error, SieveError):
        check_error(error)
        return
    module = type(error).__module__.partition(".")[0]
    assert module not in _DEPENDENCIES, f"{error!r} left the package"
    assert not isinstance(error, OSError), f"{error!r} left the package"


async def error_of(call: Awaitable[object]) -> SieveError:
    """The SieveError that a call raises, checked."""
    with pytest.raises(SieveError) as caught:
        await call
    error = caught.value
    check_error(error)
    return error


def check_error(error: SieveError) -> None:
    """Assert that an error pickles, copies, has no foreign error in its chain, and not the key."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), repr(twin), twin.args != ()) == (str(error), repr(error), True)
    for one in _chain(error):
        module = type(one).__module__
        assert module.startswith("sieve_async") or module == "builtins", f"{one!r} is in the chain"
    for text in _texts(error):
        assert KEY not in text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if error.__context__ is not None and error.__context__ is not error.__cause__:
            yield from _chain(error.__context__)
        error = error.__cause__


def _texts(error: SieveError) -> Iterator[str]:
    yield str(error)
    yield repr(error)
    yield repr(vars(error))
    yield from traceback.format_exception(error)
    yield from traceback.TracebackException.from_exception(error, capture_locals=True).format()
    yield pickle.dumps(error).decode("latin-1")
