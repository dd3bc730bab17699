"""Whatever the answers are and in whichever order they come: each output once, and of one run."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from helpers.raw_server import JOB
from sieve_async import ConnectError, Job, PollPolicy, RetryPolicy
from sieve_async.gate import Gate
from sieve_async.messages import Request, Response
from sieve_async.polling import Asking, Ended, JobFollower, Wait
from sieve_async.retry import Retrier


@attrs.define
class Truth:
    """A job of several runs, and what was asked about it.

    Attributes:
        runs: How many outputs each run makes.
        served: How often each output of each run was sent.
        offsets: The queries that were asked.
    """

    runs: Sequence[int]
    run: int = 0
    shown: int = 0
    has_ended: bool = False
    is_down: bool = False
    served: Counter[str] = attrs.field(factory=Counter)
    queries: list[str] = attrs.field(factory=list)

    async def send(self, request: Request[Any], *_: Any, **__: Any) -> Response:
        """Answer as the job looks now."""
        self.queries.append(request.query)
        if self.is_down:
            raise ConnectError("down")
        offset = int(request.query.removeprefix("offset=") or 0)
        outputs = self.outputs(self.run)[: self.shown][offset:]
        self.served.update(outputs)
        document = {
            "id": JOB,
            "status": "finished" if self.has_ended else "processing",
            "run_id": f"{JOB}-{self.run}",
            "outputs": [{"data": data} for data in outputs],
        }
        return Response(200, (), json.dumps(document).encode(), str)

    def outputs(self, run: int) -> list[str]:
        """All outputs of a run."""
        return [f"{run}:{number}" for number in range(self.runs[run])]


def make_follower(truth: Truth, offset: int) -> JobFollower:
    """A follower whose requests are answered from the truth."""

    def clock() -> float:
        return 0.0

    gate = Gate(slots=1, steady_rate=None, clock=clock)
    retrier = Retrier(RetryPolicy(max_attempts=1), gate, truth.send, clock)
    wait = Wait(PollPolicy(outage_timeout=None), 0.0)
    return JobFollower(Asking(retrier, clock, None), wait, JOB, offset)


def values_of(outputs: Sequence[Any]) -> list[str]:
    """What outputs hold."""
    return [output.data for output in outputs]


RUNS = st.lists(st.integers(0, 5), min_size=1, max_size=4)
# Each look: which run it shows and how many of its outputs, as shares; or that the server is down.
LOOKS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=15)


async def follow(
    truth: Truth, looks: Sequence[tuple[float, float, bool]], *, takes: bool, offset: int
) -> tuple[JobFollower, dict[int, list[str]]]:
    """Follow the truth through the looks to its end; what was taken, by run."""
    follower = make_follower(truth, offset)
    taken: dict[int, list[str]] = {}
    seen = {0}
    last = len(truth.runs) - 1

    async def look() -> object:
        step = await follower.look()
        for data in values_of(follower.take_held() if takes else ()):
            taken.setdefault(int(data.partition(":")[0]), []).append(data)
        return step

    await look()
    for at, share, is_down in looks:
        wanted = round(at * last)
        truth.is_down = is_down
        # A run that is not the newest was seen before: it is the answer of a lagging replica.
        truth.run = wanted if wanted in seen or wanted > max(seen) else max(seen)
        truth.shown = round(share * truth.runs[truth.run])
        if not is_down:
            seen.add(truth.run)
        await look()
    truth.run, truth.shown = last, truth.runs[last]
    truth.has_ended, truth.is_down = True, False
    for _ in range(2):  # the second look is needed only when the first shows a new run
        if isinstance(await look(), Ended):
            return follower, taken
    raise AssertionError("two looks at a job that has ended must be enough")


@given(runs=RUNS, looks=LOOKS)
def test_wait(runs: list[int], looks: list[tuple[float, float, bool]]) -> None:
    """At the end a wait holds exactly the outputs of the last run, in order."""
    truth = Truth(runs)

    follower, _ = asyncio.run(follow(truth, looks, takes=False, offset=0))
    job = follower.model()

    assert isinstance(job, Job)
    assert job.run_id == f"{JOB}-{len(runs) - 1}"
    assert values_of(job.outputs) == truth.outputs(len(runs) - 1)


@given(runs=RUNS, looks=LOOKS, offset=st.integers(0, 6))
def test_stream(runs: list[int], looks: list[tuple[float, float, bool]], offset: int) -> None:
    """What is taken of each run is a beginning of it; of the last run it is all of it."""
    truth = Truth(runs)

    _, taken = asyncio.run(follow(truth, looks, takes=True, offset=offset))

    for run, outputs in taken.items():
        whole = truth.outputs(run)[offset if run == 0 else 0 :]
        assert outputs == whole[: len(outputs)]
    last = len(runs) - 1
    assert taken.get(last, []) == truth.outputs(last)[offset if last == 0 else 0 :]


@given(looks=LOOKS, count=st.integers(0, 8))
def test_each_is_fetched_once(looks: list[tuple[float, float, bool]], count: int) -> None:
    """Each output of a job that runs once is sent once, and ``offset=0`` is never asked for."""
    truth = Truth([count])

    asyncio.run(follow(truth, looks, takes=False, offset=0))

    assert truth.served == Counter(truth.outputs(0))
    assert "offset=0" not in truth.queries
