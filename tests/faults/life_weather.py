"""What is wrong with the server now, and since when nothing can be wrong any more."""

from collections.abc import Mapping
from typing import Any

import attrs

from faults.life import JobTruth
from sieve_async.testing import FakeSieve, Fault

JOBS, LISTS, AWAITS, VERSIONS = "/v2/jobs/*", "/v2/jobs", "/v2/jobs/*/await", "/v2/functions/*"
OUTAGE = "outage"
TARGETS: tuple[str | None, ...] = (None, JOBS, JOBS, LISTS, AWAITS, VERSIONS)

# How long what an answer did may go on: the attempt that it spoilt, and the retry after that.
_LINGER = 35.0

KINDS: Mapping[str, Mapping[str, Any]] = {
    **{
        f"{status}": {"status": status}
        for status in (206, 400, 401, 403, 404, 408, 422, 429, 500, 501, 502, 503)
    },
    "redirect": {"status": 307, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
    **{
        f"{status}, again after {seconds} s": {
            "status": status,
            "retry_after": seconds,
            "as_date": status == 503,
        }
        for status, seconds in ((429, 1), (503, 20), (429, 300), (408, 5), (503, 700))
    },
    **{f"dropped {drop}": {"drop": drop} for drop in ("before", "headers", "body")},
    "half": {"truncate": True},
    **{
        f"not a job: {body!r}": {"body": body} for body in ("", "<html>", "null", "[]", "{}", "NaN")
    },
    **{f"delayed by {seconds} s": {"delay": seconds} for seconds in (0.3, 8, 45)},
    **{f"dripping for {seconds} s": {"slow_body": seconds} for seconds in (0.3, 8, 45)},
    "no status": {"fields": {"status": None, "build_status": None}},
    "status of a wrong type": {"fields": {"status": 5, "build_status": ["ready"]}},
    "unknown word": {"fields": {"status": "started", "build_status": "frozen"}},
    "run of a wrong type": {"fields": {"run_id": 7}},
    "time of a wrong type": {"fields": {"created_at": "soon", "queued_at": "soon"}},
    "stale: queued": {"fields": {"status": "queued", "build_status": "queued", "outputs": None}},
    "stale: running": {"fields": {"status": "processing", "outputs": []}},
}


@attrs.define
class Trouble:
    """One thing that is wrong, with some requests.

    Attributes:
        kind: What it is, for those who read of it.
        fault: The server's; None for an outage.
        lingers: For how many seconds after it what it did may be felt.
        is_over: Whether it is.
    """

    kind: str
    fault: Fault | None
    lingers: float
    is_over: bool = False


class Weather:
    """All trouble with one server.

    Args:
        sieve: The server.

    Attributes:
        troubles: All that there were, the oldest first.
        fair_since: From when on nothing can be wrong, unless something is wrong now.
        bad: From when to when something was wrong without a break; the last one may go on.
    """

    def __init__(self, sieve: FakeSieve) -> None:
        self.troubles: list[Trouble] = []
        self.fair_since = 0.0
        self.bad: list[tuple[float, float]] = []
        self._sieve = sieve

    @property
    def active(self) -> list[Trouble]:
        """What is wrong now."""
        return [trouble for trouble in self.troubles if not trouble.is_over]

    def is_fair(self, now: float) -> bool:
        """Whether nothing can be wrong now."""
        return not self.active and now >= self.fair_since

    def spoil(
        self, kind: str, target: str | None, now: float, *, times: int | None, share: float
    ) -> None:
        """Let something go wrong with the requests to some paths."""
        how = KINDS[kind]
        self._add(kind, how, now, path=target, times=times, probability=share)

    def show_another(self, asked: JobTruth, shown: str, now: float, times: int | None) -> None:
        """Answer with the id of another job."""
        self._add("another id", {"fields": {"id": shown}}, now, job=asked.id, times=times)

    def show_earlier_run(self, job: JobTruth, now: float, times: int | None) -> None:
        """Answer as a replica does that has not heard of the last restart."""
        if len(job.runs) > 1:
            fields = {
                "status": "processing",
                "run_id": job.runs[-2].id,
                "outputs": [],
                "restarts": [{}] * (len(job.runs) - 2),
            }
            self._add("earlier run", {"fields": fields}, now, job=job.id, times=times)

    def break_down(self, now: float) -> None:
        """Note that the server refuses connections."""
        self.troubles.append(Trouble(OUTAGE, None, _LINGER))
        self._note(now)

    def heal(self, trouble: Trouble, now: float) -> None:
        """Let something go wrong no more; an outage is ended by whoever began it."""
        if trouble.fault is not None:
            trouble.fault.remove()
        trouble.is_over = True
        self.fair_since = max(self.fair_since, now + trouble.lingers)

    def look(self, now: float) -> None:
        """Take note of what is used up, and of the time; to be called after each step."""
        for trouble in self.active:
            fault = trouble.fault
            trouble.is_over = fault is not None and fault.is_used_up
            self.fair_since = max(self.fair_since, now + trouble.lingers)
        if self.bad and self.is_fair(now):
            since, until = self.bad[-1]
            self.bad[-1] = since, min(until, now)

    def _add(self, kind: str, how: Mapping[str, Any], now: float, **whom: Any) -> None:
        asked = min(how.get("retry_after", 0), 3600)
        lingers = _LINGER + how.get("delay", 0) + how.get("slow_body", 0) + 1.6 * asked
        self.troubles.append(Trouble(kind, self._sieve.fault(**how, **whom), lingers))
        self._note(now)

    def _note(self, now: float) -> None:
        if not self.bad or self.bad[-1][1] < float("inf"):
            self.bad.append((now, float("inf")))
