"""Raw server of many jobs whose lists may be wrong, and a watch of these jobs."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from helpers.http_helpers import now
from helpers.raw_server import (
    Document,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    job_until,
    respond,
)
from sieve_async import PollPolicy, SieveClient

# The rows of a page and its next_offset.
Rows: TypeAlias = Callable[[RawRequest], tuple[list[Any], Any]]
# The script to play instead of the normal response, or None.
Fault: TypeAlias = Callable[[RawRequest], Script | None]


def row(job_id: str, status: str = "processing", **more: Any) -> Document:
    """A row of a list, without outputs."""
    return {"id": job_id, "status": status} | more


class ListServer(ScriptedServer):
    """Jobs that run until they finish, one after the other, and lists that may be wrong.

    Args:
        rows: Returns the rows of a page; correct pages by default.
        ends: When each job finishes, in loop time.
        word: The status of a running job in its own document.
        fault: Returns a script to play instead of the normal response.
    """

    def __init__(
        self,
        rows: Rows | None = None,
        ends: dict[str, float] | None = None,
        word: str = "processing",
        fault: Fault = lambda _: None,
    ) -> None:
        super().__init__(self._respond)
        self.finish_times = ends or {f"j{n}": 60.0 + n for n in range(20)}
        self._rows = rows or self._page
        self._word = word
        self._fault = fault

    def _respond(self, request: RawRequest) -> Script:
        if (script := self._fault(request)) is not None:
            return script
        if request.is_list:
            rows, next_offset = self._rows(request)
            return respond({"data": rows, "next_offset": next_offset})
        if request.job_id not in self.finish_times:
            return error_response(404)
        return job_until(self.finish_times[request.job_id], request.job_id, self._word)

    def running(self, request: RawRequest) -> list[Document]:
        """Correct rows of the running jobs, newest first."""
        if request.query.get("status") != "processing":
            return []
        finish_times = reversed(self.finish_times.items())
        return [row(job_id) for job_id, ends_at in finish_times if now() < ends_at]

    def _page(self, request: RawRequest) -> tuple[list[Any], Any]:
        rows, end = self.running(request), request.offset + request.limit
        return rows[request.offset : end], end if end < len(rows) else -1

    async def watch(self, policy: PollPolicy | None = None, **settings: Any) -> dict[str, float]:
        """Watch all jobs, check each outcome, and return the times of the outcomes."""
        async with self, self.client(**settings) as client:
            return await watch_listed(client, self.finish_times, policy)

    async def watch_cheaply(self, polls: int = 81, late: float = 13) -> None:
        """Watch all jobs: outcomes are at most so late and cost at most so many polls of each.

        Without lists a job of 60 to 80 s has 80 polls on average if the jitter makes all intervals
        as short as it can: 27 in the first ten seconds, then each 3.75 % later than the last.
        """
        found = await self.watch()
        assert max(found[job_id] - self.finish_times[job_id] for job_id in found) <= late
        assert len(self.polls) <= polls * len(self.finish_times)


async def watch_listed(
    client: SieveClient, ends: Mapping[str, float], policy: PollPolicy | None = None
) -> dict[str, float]:
    """Watch by the list strategy, check each outcome, and return the times of the outcomes."""
    found: dict[str, float] = {}
    async for outcome in client.as_completed([*ends], strategy="list", polling=policy):
        job = outcome.result()
        assert outcome.job_id == job.id
        assert now() >= ends[job.id]
        assert [getattr(output, "data", None) for output in job.outputs] == [f"of {job.id}"]
        assert job.id not in found
        found[job.id] = now()
    assert found.keys() == ends.keys()
    return found
