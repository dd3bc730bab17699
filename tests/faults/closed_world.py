"""What must hold of everything that leaves the package, looked at wherever it leaves."""

import asyncio
import copy
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from sieve_async import SieveClient, SieveError

KEY = "canary-4f1d9c7e-key"

_CALLS = {"get_job", "get_version", "wait_for_job", "wait_until_ready", "wait_for_jobs"}
_BELOW = ("aiohttp", "cattrs", "backoff", "orjson", "json", "yarl", "multidict", "zlib", "ssl")


class ObservedClient(SieveClient):
    """A client whose every error is looked at while it leaves."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return _observed(found) if name in _CALLS else found


def _observed(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def observed(*arguments: Any, **settings: Any) -> Any:
        try:
            result = await call(*arguments, **settings)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            check_left(error)
            raise
        for outcome in result if isinstance(result, list) else []:
            if outcome.error is not None:
                check_error(outcome.error)
        return result

    return observed


def check_left(error: BaseException) -> None:
    """Ours is as it must be; what the caller's own code raised passes; nothing else leaves."""
    if isinstance(error, SieveError):
        check_error(error)
        return
    module = type(error).__module__.partition(".")[0]
    assert module not in _BELOW, f"{error!r} has left the package"
    assert not isinstance(error, OSError), f"{error!r} has left the package"


async def failure_of(call: Awaitable[object]) -> SieveError:
    """The error that a call ends with, after a look at what every error must keep."""
    with pytest.raises(SieveError) as caught:
        await call
    error = caught.value
    check_error(error)
    return error


def check_error(error: SieveError) -> None:
    """Whatever leaves the package pickles, copies, and tells nobody the key."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), repr(twin), twin.args != ()) == (str(error), repr(error), True)
    for one in _chain(error):
        module = type(one).__module__
        assert module.startswith("sieve_async") or module == "builtins", f"{one!r} hangs on it"
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
