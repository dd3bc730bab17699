"""The thread that a server lives in, and calls from other threads."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

import attrs

if TYPE_CHECKING:
    from sieve_async.testing.server import FakeSieve

P = ParamSpec("P")
R = TypeVar("R")


@attrs.define
class Home:
    """Where the server's own thread is, if it has one: what is called elsewhere is done there."""

    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, init=False)
    _thread: int = attrs.field(default=0, init=False)

    def move_in(self) -> None:
        """Make the running loop and its thread the home."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def move_out(self) -> None:
        """Have no home any more; calls are done wherever they are made."""
        self._loop = None

    def call(self, do: Callable[[], R]) -> R:
        """Do something at home, and wait until it is done."""
        if self._loop is None or threading.get_ident() == self._thread:
            return do()
        return asyncio.run_coroutine_threadsafe(_done(do), self._loop).result()


class HasHome(Protocol):
    """What has methods that are done at home."""

    _home: Home


S = TypeVar("S", bound=HasHome)


def at_home(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Have a method done at home, wherever it is called."""

    @wraps(method)
    def call(self: S, /, *arguments: P.args, **keywords: P.kwargs) -> R:
        return self._home.call(partial(method, self, *arguments, **keywords))

    return call


class InThread(AbstractContextManager["FakeSieve"]):
    """A server that runs in a thread of its own for as long as the block lasts."""

    def __init__(self, sieve: "FakeSieve", home: Home) -> None:
        self._sieve = sieve
        self._home = home
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="FakeSieve", daemon=True)

    def __enter__(self) -> "FakeSieve":
        self._thread.start()
        self._running.result()
        return self._sieve

    def __exit__(self, *_: object) -> None:
        loop, leaving = self._running.result()
        loop.call_soon_threadsafe(leaving.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # the port is taken, or the like: who waits is told
            if self._running.done():
                raise
            self._running.set_exception(error)

    async def _serve(self) -> None:
        leaving = asyncio.Event()
        async with self._sieve:
            self._home.move_in()
            self._running.set_result((asyncio.get_running_loop(), leaving))
            await leaving.wait()
            self._home.move_out()


async def _done(do: Callable[[], R]) -> R:
    return do()
