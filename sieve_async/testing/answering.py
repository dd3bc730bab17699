"""From HTTP to a question, and from its answer to HTTP; every request goes into the ledger."""

import asyncio
from collections.abc import Callable

import attrs
from aiohttp import web

from sieve_async.testing.answers import Answer
from sieve_async.testing.faults import Effect, Faults
from sieve_async.testing.ledger import Ledger, LedgerEntry
from sieve_async.testing.population import Population
from sieve_async.testing.routes import Held, Question, answer, answer_held
from sieve_async.testing.sending import BODILESS, all_headers, send_broken, send_slowly


@attrs.define
class Answering:
    """What the server does with each request that comes in."""

    ledger: Ledger
    population: Population
    faults: Faults
    accepts: Callable[[str | None], bool]
    """Tells whether a key is the right one."""
    without_key: Callable[[str], str]
    """Takes the key out of a text."""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, which may be held for long first."""
        with self.ledger.one_in_flight():
            key_accepted = self.accepts(request.headers.get("X-API-Key"))
            question = Question(request.method, request.path, dict(request.query), key_accepted)
            entry = self.ledger.enter(self._entry(question))
            if effect := self.faults.strike(question.path):
                return await self._serve_badly(request, question, entry, effect)
            reply = await self._answer(question, entry)
            self._note(entry, reply)
            # One turn of the loop, so that requests sent together are in flight together.
            await asyncio.sleep(0)
            body = b"" if reply.status in BODILESS else reply.body
            return web.Response(status=reply.status, body=body, headers=all_headers(reply))

    def _entry(self, question: Question) -> LedgerEntry:
        hide = self.without_key
        query = {hide(name): hide(value) for name, value in question.query.items()}
        at = self.population.clock.now()
        return LedgerEntry(question.method, hide(question.path), query, question.key_accepted, at)

    async def _answer(self, question: Question, entry: LedgerEntry) -> Answer:
        reply = answer(question, self.population)
        return await self._hold(reply, entry) if isinstance(reply, Held) else reply

    async def _hold(self, held: Held, entry: LedgerEntry) -> Answer:
        ends_at, job_id = held.job.ends_at(), held.job.script.id
        try:
            wake = await self.population.holds.until_ended(job_id, ends_at=ends_at)
        finally:
            entry.took = self.population.clock.now() - entry.at
        return answer_held(held, wake, self.population)

    async def _serve_badly(
        self, request: web.BaseRequest, question: Question, entry: LedgerEntry, effect: Effect
    ) -> web.StreamResponse:
        clock, alarms = self.population.clock, self.population.holds.alarms
        begins = clock.now() + effect.delay
        await alarms.sleep_until(begins)
        reply = effect.answer() if effect.is_answer else await self._answer(question, entry)
        reply = effect.spoil(reply, lambda seconds: clock.http_date(clock.now() + seconds))
        if entry.took:  # it was held
            begins = clock.now()
        entry.took = clock.now() - entry.at
        if effect.drop:
            await send_broken(request, reply, effect.drop)
        self._note(entry, reply)
        span = begins, begins + effect.slow_body
        return await send_slowly(request, reply, span, alarms.sleep_until)

    def _note(self, entry: LedgerEntry, reply: Answer) -> None:
        has_body = entry.method != "HEAD" and reply.status not in BODILESS
        sent = len(reply.body) if has_body else 0
        self.ledger.answered(entry, reply, sent)
