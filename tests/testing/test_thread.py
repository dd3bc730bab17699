"""The fake server in a thread of its own, for programs without an event loop."""

import json
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from helpers.http_helpers import Document
from sieve_async.testing import FakeSieve


def ask(sieve: FakeSieve, path: str) -> Document:
    """Get a document as a synchronous program does."""
    request = urllib.request.Request(sieve.url + path, headers={"X-API-Key": sieve.api_key})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - our own server
            document: Document = json.load(response)
            return document | {"http": 200}
    except urllib.error.HTTPError as error:
        with error:
            return {"http": error.code}


def test_server_in_a_thread() -> None:
    """A synchronous program has a server for the time of a block, and none after it."""
    before = threading.active_count()
    with FakeSieve.in_thread(api_key="key") as sieve:
        sieve.add_job("j", outputs=["a"])
        seen = ask(sieve, "/v2/jobs/j")
        during = threading.active_count()
        with pytest.raises(ValueError, match="there is a job 'j' already"):
            sieve.add_job("j")  # an error is raised where the call was made
    assert (seen["status"], during - before, threading.active_count()) == ("finished", 1, before)
    assert (sieve.api_key, sieve.requests_for("j")) == ("key", 1)
    with pytest.raises(urllib.error.URLError):
        ask(sieve, "/v2/jobs/j")


def test_everything_can_be_called_from_outside() -> None:
    """Calls are made in the server's thread: a held request is answered at once."""
    with FakeSieve.in_thread(clock="manual") as sieve, ThreadPoolExecutor() as pool:
        jobs = [sieve.job(sieve.add_job(name, by="manual")) for name in ("a", "b", "c", "d")]
        sieve.add_job("timed", processing=60)
        moves: dict[str, partial[None]] = {
            "a": partial(jobs[0].finish),
            "b": partial(jobs[1].fail),
            "c": partial(jobs[2].cancel),
            "d": partial(sieve.remove_job, "d"),
            "timed": partial(sieve.advance, 60),
        }
        seen = []
        for name, move in moves.items():
            waiting = pool.submit(ask, sieve, f"/v2/jobs/{name}/await")
            while not sieve.in_flight:
                pass
            move()
            seen.append(waiting.result(timeout=60).get("status"))
        with sieve.fault(status=503):
            refused = ask(sieve, "/v2/jobs/a")
        ids = list(pool.map(lambda number: sieve.add_job(f"j{number}"), range(50)))
        statuses = set(pool.map(lambda job_id: ask(sieve, f"/v2/jobs/{job_id}")["status"], ids))
    assert seen == ["finished", "error", "cancelled", None, "finished"]
    assert (refused["http"], jobs[0].status, statuses) == (503, "finished", {"finished"})


def test_start_that_fails() -> None:
    """A server that cannot start raises where it is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = FakeSieve.in_thread(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"), server:
            pass
