"""Jobs that are watched by reading lists: a raw server whose lists may be wrong, and the watch."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from asking import now
from faults.wire import Document, Script, answer
from stage import Asked, Stage, failing, until

from sieve_async import PollPolicy, SieveClient

# The rows of a page, and where the next one begins; nothing is said of that with ``...``.
Rows: TypeAlias = Callable[[Asked], tuple[list[Any], Any]]
# What is done about a request instead of answering it; None is nothing.
Trouble: TypeAlias = Callable[[Asked], Script | None]


def row(job_id: str, status: str = "processing", **more: Any) -> Document:
    """A row of a list, without outputs."""
    return {"id": job_id, "status": status} | more


class Village:
    """Jobs that run until they finish, one after the other, and lists that may be wrong.

    Args:
        rows: What is on a page; what should be there if not told otherwise.
        ends: When each job finishes.
        word: How a lookup calls a job that runs.
        trouble: Which requests are not answered as they should be.
    """

    def __init__(
        self,
        rows: Rows | None = None,
        ends: dict[str, float] | None = None,
        word: str = "processing",
        trouble: Trouble = lambda _: None,
    ) -> None:
        self.ends = ends or {f"j{n}": 60.0 + n for n in range(20)}
        self.stage = Stage(self._reply)
        self._rows = rows or self._page
        self._word = word
        self._trouble = trouble

    def _reply(self, asked: Asked) -> Script:
        if (script := self._trouble(asked)) is not None:
            return script
        if asked.is_list:
            rows, next_offset = self._rows(asked)
            more = {} if next_offset is ... else {"next_offset": next_offset}
            return answer({"data": rows} | more)
        if asked.job_id not in self.ends:
            return failing(404)
        return until(self.ends[asked.job_id], asked.job_id, self._word)

    def running(self, asked: Asked) -> list[Document]:
        """Rows of the jobs that run, as they should be, newest first."""
        if asked.query.get("status") != "processing":
            return []
        return [row(job_id) for job_id in reversed(self.ends) if now() < self.ends[job_id]]

    def _page(self, asked: Asked) -> tuple[list[Any], Any]:
        rows, end = self.running(asked), asked.offset + asked.limit
        return rows[asked.offset : end], end if end < len(rows) else -1

    async def watch(self, policy: PollPolicy | None = None, **settings: Any) -> dict[str, float]:
        """Watch all jobs, check each outcome, and return when they came."""
        async with self.stage, self.stage.client(**settings) as client:
            return await watched(client, self.ends, policy)

    def check_pace(self, found: dict[str, float]) -> None:
        """What came was soon, and cost no more looks than polling would."""
        assert max(found[job_id] - self.ends[job_id] for job_id in found) <= 13
        assert len(self.stage.looks) <= 65 * len(self.ends)


async def watched(
    client: SieveClient, ends: Mapping[str, float], policy: PollPolicy | None = None
) -> dict[str, float]:
    """Watch all jobs by sweeps, check each outcome, and return when they came."""
    found: dict[str, float] = {}
    async for outcome in client.as_completed([*ends], strategy="list", polling=policy):
        job = outcome.unwrap()
        assert outcome.job_id == job.id
        assert now() >= ends[job.id]
        assert [getattr(output, "data", None) for output in job.outputs] == [f"of {job.id}"]
        assert job.id not in found
        found[job.id] = now()
    assert found.keys() == ends.keys()
    return found
