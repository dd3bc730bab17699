"""A raw server that takes pushes, and breaks one as its plan says."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import attrs

from helpers.raw_server import Action, RawRequest, RawServer, Script, respond


@attrs.frozen
class PushPlan:
    """What the server does with one push.

    Attributes:
        read: Read so many bytes and end the connection; None to read and answer the request.
        accepts: Whether a job is started.
        status: The status line of the answer.
        body: The body of the answer; None for that of an accepted push.
        headers: Further header lines of the answer.
        write: How many bytes of the answer are sent; None for all.
        resets: Whether the connection ends with a reset.
        hangs: Whether the server is silent instead of closing.
    """

    read: int | None = None
    accepts: bool = True
    status: str = "200 OK"
    body: bytes | None = None
    headers: str = ""
    write: int | None = None
    resets: bool = False
    hangs: bool = False

    @property
    def end(self) -> Action:
        """What follows a part of the answer."""
        return Action.SILENCE if self.hangs else Action.RESET if self.resets else Action.CLOSE


Plans: TypeAlias = Callable[[int], PushPlan]


class PushServer(RawServer):
    """Takes pushes by plan and lists the jobs that they started."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: Plans = lambda _: PushPlan()
        self.posts: list[RawRequest] = []
        self.jobs: dict[str, dict[str, Any]] = {}

    def _script_for(self, request: RawRequest) -> Script:
        if request.method != "POST":
            return respond(self._document(request))
        plan = self.plan(len(self.posts))
        self.posts.append(request)
        if plan.read is not None:  # the rest has been sent and lost in any case
            return [plan.end]
        answer = self.answer(plan, request.body)
        return [answer] if plan.write is None else [answer[: plan.write], plan.end]

    @property
    def reused(self) -> int:
        """How many pushes came on a connection that had served before."""
        return sum(post.number > 1 for post in self.posts)

    def answer(self, plan: PushPlan, pushed: bytes) -> bytes:
        """The complete answer to a push; starts its job."""
        body = plan.body or b"{}"
        if plan.accepts:
            job_id = f"job-{len(self.jobs)}"
            self.jobs[job_id] = json.loads(pushed) | {"created_at": datetime.now(UTC).isoformat()}
            if plan.body is None:
                body = json.dumps({"id": job_id, "status": "queued"}).encode()
        head = f"HTTP/1.1 {plan.status}\r\nContent-Length: {len(body)}\r\n{plan.headers}\r\n"
        return head.encode() + body

    def _document(self, request: RawRequest) -> dict[str, Any]:
        rows = {
            job_id: {
                "id": job_id,
                "status": "queued",
                "created_at": job["created_at"],
                "inputs": {name: {"data": value} for name, value in job["inputs"].items()},
            }
            for job_id, job in self.jobs.items()
        }
        if not request.is_list and request.job_id in rows:
            return rows[request.job_id]
        return {"data": list(rows.values())[::-1], "next_offset": -1}
