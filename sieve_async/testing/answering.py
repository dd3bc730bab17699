"""From HTTP to a question, and from its answer to HTTP; every request goes into the ledger."""

import asyncio
from collections.abc import Callable, Mapping

import attrs
from aiohttp import web

from sieve_async.testing.ledger import Ledger, LedgerEntry
from sieve_async.testing.population import Population
from sieve_async.testing.routes import Answer, Held, Question, answer, answer_held

JSON = {"Content-Type": "application/json; charset=utf-8"}


@attrs.define
class Answering:
    """What the server does with each request that comes in."""

    ledger: Ledger
    population: Population
    accepts: Callable[[str | None], bool]
    """Tells whether a key is the right one."""

    async def serve(self, request: web.BaseRequest) -> web.Response:
        """Answer one request, which may be held for long first."""
        with self.ledger.one_in_flight():
            key_accepted = self.accepts(request.headers.get("X-API-Key"))
            query = dict(request.query)
            path = request.path
            at = self.population.clock.now()
            entry = self.ledger.enter(LedgerEntry(request.method, path, query, key_accepted, at))
            reply = answer(Question(request.method, path, query, key_accepted), self.population)
            if isinstance(reply, Held):
                reply = await self._hold(reply, entry)
            sent = 0 if request.method == "HEAD" else len(reply.body)
            self.ledger.answered(entry, reply.status, sent, version_id=reply.version_id)
            # One turn of the loop, so that requests sent together are in flight together.
            await asyncio.sleep(0)
            return web.Response(status=reply.status, body=reply.body, headers=_headers(reply))

    async def _hold(self, held: Held, entry: LedgerEntry) -> Answer:
        ends_at, job_id = held.job.ends_at(), held.job.script.id
        try:
            wake = await self.population.holds.until_ended(job_id, ends_at=ends_at)
        finally:
            entry.took = self.population.clock.now() - entry.at
        return answer_held(held, wake, self.population)


def _headers(reply: Answer) -> Mapping[str, str]:
    return {**JSON, **reply.headers} if reply.headers else JSON
