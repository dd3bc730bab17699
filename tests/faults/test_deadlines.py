"""Fault class D: the deadline of each kind of wait, in each phase that it may come in."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from helpers.asserts import assert_no_more_requests
from helpers.deadline_waits import IDS, TIMEOUTS, WAITS, check_last, wait_until_deadline
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    respond,
    respond_slowly,
    running_job,
    version_json,
)
from sieve_async import (
    PollPolicy,
    RateLimitError,
    RetryPolicy,
    ServerError,
    SieveError,
    TransportError,
)

pytestmark = pytest.mark.looptime


@attrs.frozen
class Phase:
    """What a wait is at when its deadline comes.

    Attributes:
        script: What the server does instead of a good answer; None for good answers.
        last_error: What the last failed look has met; None when there was none.
        settings: Of the client.
    """

    script: Script | None
    last_error: type[SieveError] | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)


(WHOLE,) = running_job(JOB)
assert isinstance(WHOLE, bytes)
SLOWLY = {"polling": PollPolicy(min_interval=60, max_interval=60)}
PATIENTLY = {"retry": RetryPolicy(max_attempts=99, initial_delay=100, max_delay=100)}
PHASES: dict[str, Phase] = {
    "headers": Phase([Action.SILENCE]),
    "headers, one byte a second": Phase(respond_slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")),
    "body": Phase([WHOLE[:-9], Action.SILENCE]),
    "body, one byte a second": Phase(respond_slowly(WHOLE[:-20], b" ", 20)),
    "body of an error": Phase([b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n", Action.SILENCE]),
    "backoff": Phase(error_response(503), ServerError, PATIENTLY),
    "backoff after a cut": Phase([Action.RESET], TransportError, PATIENTLY),
    "Retry-After": Phase(error_response(429, ("Retry-After", "600")), RateLimitError),
    "Retry-After of 503": Phase(error_response(503, ("Retry-After", "5")), ServerError),
    "failed looks": Phase(error_response(500), ServerError),
    "looks that are no JSON": Phase(respond(b"<html>"), SieveError),
    "between looks": Phase(None, None, SLOWLY),
    "many looks": Phase(None),
}


def reply(phase: Phase, *, is_first: bool) -> Callable[[RawRequest], Script]:
    """Answer as the phase says, from the first look on or after one good look at each."""

    def answered(asked: RawRequest) -> Script:
        if phase.script is not None and (is_first or asked.times >= (2 if asked.is_list else 1)):
            return phase.script
        if asked.is_list:
            return respond({"data": [job_document(one) for one in IDS], "next_offset": -1})
        if asked.job_id == "v2":
            return respond(version_json(build_status="building"))
        return running_job(asked.job_id)

    return answered


@pytest.mark.parametrize("is_first", [True, False], ids=["at first", "after a good look"])
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("name", PHASES)
async def test_deadline_in_each_phase(name: str, wait: str, *, is_first: bool) -> None:
    """Whatever a wait is at, its deadline ends it, neither early nor late, with all that it knows.

    What lists fail with is told of no single job.
    """
    phase = PHASES[name]
    for seconds in TIMEOUTS:
        async with (
            ScriptedServer(reply(phase, is_first=is_first)) as stage,
            stage.client(**phase.settings) as client,
        ):
            errors = await wait_until_deadline(client, WAITS[wait], seconds)

            for error in errors:
                check_last(error, was_seen=phase.script is None or not is_first)
                if phase.last_error is None:
                    assert error.last_error is None
                elif is_first and "list" not in wait and error.polls:
                    assert isinstance(error.last_error, phase.last_error)
            if seconds == TIMEOUTS[-1]:
                await assert_no_more_requests(client, stage.requests)
