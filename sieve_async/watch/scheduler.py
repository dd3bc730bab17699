"""`Scheduler`: when each watched job is polled. One heap of due times, no task or timer per job.

A slot and a turn in the poll rate come first; then the most urgent job is taken, then polled. So
pauses, fairness and even spacing are those of the limiter.
"""

import asyncio
import heapq
import logging
from collections import OrderedDict, deque
from functools import partial

import attrs

from sieve_async.background import TIMER_RESOLUTION, Alarm, Background, cancel, loop_time
from sieve_async.errors import SieveError
from sieve_async.limiter import RequestLimiter
from sieve_async.messages import shorten
from sieve_async.models import JobStatus
from sieve_async.outcomes import JobOutcome
from sieve_async.polling.long_polls import LongPollLimiter
from sieve_async.polling.poller import MIN_HELD, PollContext
from sieve_async.polling.state import DeadlineReached, Decision, Done, Failed, PollAt
from sieve_async.polling.waits import notify
from sieve_async.settings import PollPolicy
from sieve_async.watch.jobs import JobGroup, Subscriber, WatchedJob
from sieve_async.watch.lister import PAGE_TIMEOUT, Lister

logger = logging.getLogger("sieve_async")

# Of so many pending jobs the last document is kept, for the errors of a deadline.
_MAX_DOCUMENTS = 2000
# A poll that takes longer was held back or held, and says nothing about the latency.
_MAX_LATENCY = 5.0
# How long before the deadline the last polls begin: at the least, with long polls, at the most.
_MIN_LEAD = 0.1
_LONG_POLL_LEAD = 1.0
_MAX_LEAD = 5.0
# The due time of a job whose poll is in flight.
_NOT_DUE = float("inf")
# A watch that is over sooner makes no use of lists.
_MIN_LISTED = 1.0
_LOG_INTERVAL = 60.0
_MAX_LOGGED_WORDS = 100


class Scheduler:
    """Polls the jobs of all watches of one client.

    Args:
        context: How polls are sent.
        limiter: Hands out slots and turns in the rate.
        long_polls: Lets the server hold polls.
        background: Runs the tasks and timers.
        slots: How many polls may be made at once.
        polls_per_second: The rate of the limiter.
    """

    def __init__(
        self,
        context: PollContext,
        limiter: RequestLimiter,
        long_polls: LongPollLimiter,
        background: Background,
        *,
        slots: int,
        polls_per_second: float | None,
    ) -> None:
        self._latency = 0.0  # mean duration of the last polls, in seconds
        self._context = attrs.evolve(context, has_slot=True)
        self._long_context = attrs.evolve(self._context, long_polls=long_polls)
        self._limiter = limiter
        self._background = background
        self._slots = slots
        self._polls_per_second = polls_per_second
        self._groups: dict[object, JobGroup] = {}
        self._listers: dict[JobGroup, Lister] = {}
        self._urgent: OrderedDict[WatchedJob, None] = OrderedDict()  # each once
        self._ready: deque[WatchedJob] = deque()
        self._later: list[tuple[float, WatchedJob]] = []
        self._places = 0  # in the limiter's queue
        self._alarm = Alarm(background, self._on_time)
        self._in_flight: dict[WatchedJob, asyncio.Task[None]] = {}
        self._updating: dict[WatchedJob, asyncio.Task[None]] = {}
        self._documents: OrderedDict[WatchedJob, None] = OrderedDict()
        self._log = PollLogger()
        self._is_closed = False
        background.on_failure(self.fail)
        limiter.on_pause = self._on_pause

    @property
    def pending(self) -> int:
        """How many jobs are pending."""
        return sum(subscriber.pending for subscriber in self._subscribers())

    def join(self, subscriber: Subscriber, policy: PollPolicy, strategy: str) -> None:
        """Begin a watch; with a callback of its own it shares no polls."""
        timeout, subscriber.started = subscriber.timeout, loop_time()
        if strategy == "list" and timeout is not None and timeout < _MIN_LISTED:
            strategy = "poll"
        own = subscriber if subscriber.on_update is not None else None
        key = (policy, strategy, timeout == 0, own)
        group = self._groups.get(key)
        if group is None:
            context = self._long_context if strategy == "long_poll" else self._context
            group = self._groups[key] = JobGroup(policy, context, is_single_poll=timeout == 0)
            if strategy == "list":
                # A page may have to queue behind as many polls as there are slots.
                in_queue = self._slots / (self._polls_per_second or float("inf"))
                self._listers[group] = Lister(
                    group,
                    context.retrier,
                    self._background,
                    self.poll_now,
                    page_timeout=PAGE_TIMEOUT + in_queue,
                )
        group.subscribers.append(subscriber)
        subscriber.group = group
        if timeout:
            soon = subscriber.started + timeout - min(_MAX_LEAD, timeout / 2)
            subscriber.timer = self._background.call_at(soon, self._plan_last_polls, subscriber)

    def watch(self, job_id: str, subscriber: Subscriber) -> None:
        """Poll a job until it is terminal or no watch waits for it."""
        group = subscriber.group
        assert group is not None  # noqa: S101 - the watch has begun
        now = loop_time()
        job = group.find(job_id)
        if job is not None:
            job.subscribers = (*job.waiting_subscribers(), subscriber)
            subscriber.joined[job_id] = now
            subscriber.add(job)
            if subscriber.is_ending:
                self._make_last_poll(job, now)
                self._dispatch()
            return
        job = group.new_job(job_id, subscriber, now)
        subscriber.add(job)
        lister = self._listers.get(group)
        if group.is_single_poll and self._is_long_pause():
            self._give_up(job)
        elif lister is not None and not subscriber.is_ending and lister.add(job):
            self._push(job)
        else:
            job.due = now
            self._ready.append(job)
            self._dispatch()

    def leave(self, subscriber: Subscriber) -> None:
        """Poll no more for a watch; its ``ending`` are the tasks that are about to end."""
        group = subscriber.group
        subscriber.stop()
        ending = subscriber.ending
        ending += self._interrupt()
        for job, task in self._updating.items():
            if not job.is_active:
                ending += cancel(task)
        if group is None:
            return
        subscriber.group = None
        group.subscribers.remove(subscriber)
        if not group.subscribers:
            self._groups = {key: each for key, each in self._groups.items() if each is not group}
            lister = self._listers.pop(group, None)
            ending += lister.stop() if lister is not None else []
        for job in [job for job in self._documents if not job.is_active]:
            del self._documents[job]
        if not self.pending:  # what is left has ended; while there is more, it is dropped when due
            for queue in (self._urgent, self._ready, self._later, self._documents):
                queue.clear()
            self._places = 0
            self._limiter.drop_turns()

    def end(self, subscriber: Subscriber, error: BaseException) -> None:
        """End a watch with an exception, if it still waits."""
        if subscriber.is_active:
            subscriber.fail(error)
            self.leave(subscriber)

    def poll_now(self, job: WatchedJob) -> None:
        """Poll a job before those that are merely due."""
        if self._is_busy(job):
            job.is_nudged = True
            job.give_up_hold()
            return
        job.due = loop_time()
        self._urgent[job] = None
        self._dispatch()

    def nudge(self, job_id: str) -> bool:
        """Poll a job now; whether any watch waits for it."""
        jobs = [group.find(job_id) for group in self._groups.values()]
        for job in jobs:
            if job is not None:
                job.state.restart_interval(loop_time())
                job.is_listed = False  # a list may lag as the answer may
                self.poll_now(job)
        return any(jobs)

    def close(self) -> list[asyncio.Task[None]]:
        """End all watches, since the client was closed; returns the tasks that are about to end."""
        self._is_closed = True
        self._alarm.turn_off()
        ending: list[asyncio.Task[None]] = []
        for subscriber in self._subscribers():
            subscriber.end(loop_time(), is_client_closed=True)
            ending += subscriber.ending
        for task in (*self._in_flight.values(), *self._updating.values()):
            ending += cancel(task)
        for lister in self._listers.values():
            ending += lister.stop()
        return ending

    def fail(self, error: BaseException) -> None:
        """Raise an unexpected exception in every watch; later ones begin anew."""
        for subscriber in self._subscribers():
            self.end(subscriber, error)

    def _is_long_pause(self) -> bool:
        """Whether the server has asked for a longer pause than a single poll waits."""
        limit = self._context.retrier.max_pause
        return limit is not None and self._limiter.pause_remaining() > limit

    def _on_pause(self) -> None:
        if self._is_long_pause():
            for group in self._groups.values():
                for job in group.jobs().values() if group.is_single_poll else ():
                    if not self._is_busy(job):
                        self._give_up(job)

    def _give_up(self, job: WatchedJob) -> None:
        """End a job without a poll; its error says why."""
        job.state.last_error = self._limiter.pause_reason
        self._finish(job, loop_time(), None)

    def _plan_last_polls(self, subscriber: Subscriber) -> None:
        """Begin the last polls so early that they can be back in time."""
        deadline, group, jobs = subscriber.deadline, subscriber.group, subscriber.pending
        if deadline is None or group is None:
            return
        # Where lists have spared all polls, how long one takes is not known.
        is_short = group.context.long_polls is None and self._latency
        least = _MIN_LEAD if is_short else _LONG_POLL_LEAD
        rounds = -(-jobs // self._slots)
        paced = jobs / self._polls_per_second if self._polls_per_second is not None else 0.0
        lead = min(max(least, 1.5 * self._latency * rounds, paced), _MAX_LEAD)
        when = max(loop_time(), deadline - lead)
        subscriber.timer = self._background.call_at(when, self._make_last_polls, subscriber)

    def _make_last_polls(self, subscriber: Subscriber) -> None:
        now, deadline = loop_time(), subscriber.deadline
        if deadline is None:
            return
        subscriber.timer = self._background.call_at(deadline, self._on_deadline, subscriber)
        subscriber.is_ending = True
        for job in subscriber.jobs.values():
            if job is not None:
                self._make_last_poll(job, now)
        self._dispatch()

    def _make_last_poll(self, job: WatchedJob, now: float) -> None:
        job.latest_due = None  # no list pushes its poll back now
        if job in self._updating or job.give_up_hold():
            job.is_nudged = True
        elif job not in self._in_flight and job.due > now:
            job.due = now
            self._ready.append(job)

    def _on_deadline(self, subscriber: Subscriber) -> None:
        # One turn later: an answer that has arrived in this turn counts.
        self._background.call_at(loop_time(), self._end_pending, subscriber)

    def _end_pending(self, subscriber: Subscriber) -> None:
        subscriber.end(loop_time())
        subscriber.ending += self._interrupt()

    def _interrupt(self) -> list[asyncio.Task[None]]:
        """Cancel polls of jobs that no watch waits for; returns their tasks."""
        ending: list[asyncio.Task[None]] = []
        for job, task in list(self._in_flight.items()):
            if not job.is_active:
                ending += cancel(task)
                if task.done():  # its callback comes a turn later
                    self._end_flight(job)
        return ending

    def _is_busy(self, job: WatchedJob) -> bool:
        """Whether its poll is in flight, or the caller's function has its state."""
        return job in self._in_flight or job in self._updating

    def _subscribers(self) -> list[Subscriber]:
        return [each for group in self._groups.values() for each in group.subscribers]

    def _push(self, job: WatchedJob) -> None:
        """Queue a job until it is due; an earlier entry of its own is moved when it comes up."""
        if job.due == _NOT_DUE or (job.queued_at is not None and job.queued_at <= job.due):
            return
        job.queued_at = job.due
        heapq.heappush(self._later, (job.due, job))
        self._alarm.set(job.due)

    def _on_time(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            at, job = heapq.heappop(self._later)
            if job.queued_at != at:
                continue  # it was queued anew for an earlier time
            job.queued_at = None
            if job.due > now:
                self._push(job)
            else:
                self._ready.append(job)
        if self._later:
            self._alarm.set(self._later[0][0])
        self._dispatch()

    def _dispatch(self) -> None:
        """Queue for a slot with one place for each due job."""
        while self._places < min(len(self._urgent) + len(self._ready), self._slots):
            self._places += 1
            self._limiter.queue_turn(self._on_turn)
            if self._is_closed:
                return

    def _on_turn(self) -> bool:
        self._places -= 1
        job = self._pop()
        if job is None:
            return False
        task = self._background.start(self._poll(job))
        self._in_flight[job] = task
        task.add_done_callback(partial(self._on_done, job))
        self._dispatch()  # more may be due than there were places for
        return True

    def _pop(self) -> WatchedJob | None:
        """The most urgent job that is due."""
        now = loop_time() + TIMER_RESOLUTION
        while self._urgent or self._ready:
            job = self._urgent.popitem(last=False)[0] if self._urgent else self._ready.popleft()
            if self._is_busy(job) or not job.is_active:
                continue
            if job.due <= now:
                job.due = _NOT_DUE  # it may stand here again, for it was nudged
                return job
            self._push(job)  # a list has pushed it back
        return None

    async def _poll(self, job: WatchedJob) -> None:
        started = loop_time()
        try:
            decision = await job.poll()
        finally:
            self._end_flight(job)
        now = loop_time()
        took = now - started
        if took < (_MAX_LATENCY if job.context.long_polls is None else MIN_HELD):
            self._latency += (0.1 if self._latency else 1.0) * (took - self._latency)
        status = job.state.status
        if status is not None and status != job.status:
            job.set_status(JobStatus(status))
        if job.state.has_changed and job.subscribers[0].on_update is not None:
            await self._report_update(job)
            now = loop_time()
        if job.is_active:
            self._apply(job, decision, now, took)

    async def _report_update(self, job: WatchedJob) -> None:
        """Call the caller's function in the caller's context; what it raises ends its watch."""
        subscriber = job.subscribers[0]
        this_task = asyncio.current_task()
        if subscriber.on_update is None or this_task is None or not job.is_active:
            return
        self._updating[job] = this_task
        subscriber.updating += 1
        try:
            await asyncio.create_task(
                notify(subscriber.on_update, job.result()), context=subscriber.context
            )
        except BaseException as error:
            if this_task.cancelling():  # its cleanup may raise, but no caller waits
                raise asyncio.CancelledError from error
            if subscriber.is_active:
                self.end(subscriber, error)
            else:  # its deadline came first
                subscriber.fail(error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        finally:
            del self._updating[job]
            subscriber.updating -= 1
            if not subscriber.is_active:
                subscriber.news.set()

    def _end_flight(self, job: WatchedJob) -> None:
        if self._in_flight.pop(job, None) is not None:
            self._limiter.release()

    def _on_done(self, job: WatchedJob, task: asyncio.Task[None]) -> None:
        """End a poll that was cancelled or failed, be it before its first step."""
        if self._in_flight.get(job) is task:
            self._end_flight(job)
        if task.cancelled() and job.is_active and not self._is_closed:
            self.fail(asyncio.CancelledError())  # by an event loop that shuts down

    def _apply(self, job: WatchedJob, decision: Decision, now: float, took: float) -> None:
        match decision:
            case PollAt(at):
                self._log.poll(job)
                self._keep_document(job)
                self._plan(job, at, now, took)
            case Failed(error):
                self._finish(job, now, error)
            case Done() | DeadlineReached():
                self._finish(job, now, None)

    def _plan(self, job: WatchedJob, at: float, now: float, took: float) -> None:
        """Plan the next poll of a job that is not terminal."""
        if job.is_nudged or at <= now:
            job.is_nudged = False
            self.poll_now(job)
            return
        for subscriber in job.subscribers:  # its last poll began early, for others were slow
            if subscriber.is_ending and subscriber.is_active and subscriber.deadline is not None:
                last = subscriber.deadline - max(_MIN_LEAD, 1.5 * took)
                at = min(at, last) if last > now else at
        job.due = at
        lister = self._listers.get(job.group)
        if lister is not None:
            if job.state.is_healthy:
                job.draw_latest_due(now)
            if job.is_listed:
                job.push_back(lister.pushed_back_until(now))
        self._push(job)

    def _finish(self, job: WatchedJob, now: float, error: SieveError | None) -> None:
        self._documents.pop(job, None)
        for subscriber in job.subscribers:
            elapsed = subscriber.elapsed(job, now)
            if error is None:
                outcome = job.outcome(elapsed)
            else:
                outcome = JobOutcome(job.job_id, None, error, job.state.polls, elapsed)
            subscriber.on_outcome(job, outcome)
        job.subscribers = ()

    def _keep_document(self, job: WatchedJob) -> None:
        """Keep the last document of the jobs that were polled last; of others only the status."""
        if job.seen is None:
            return
        if job.state.is_healthy:
            job.group.documents += 1
            job.group.document_bytes += len(job.seen.response.body)
        self._documents[job] = None
        self._documents.move_to_end(job)
        if len(self._documents) > _MAX_DOCUMENTS:
            oldest, _ = self._documents.popitem(last=False)
            if not oldest.is_terminal:  # else the caller's function has it, and it is the result
                oldest.seen = None  # its status is kept


class PollLogger:
    """Logs failed polls and unknown words of thousands of jobs: a warning a minute, once a word."""

    def __init__(self) -> None:
        self._failed = 0
        self._silent_until = float("-inf")
        self._words: set[str] = set()

    def poll(self, job: WatchedJob) -> None:
        """Log what the last poll of a pending job has shown."""
        state = job.state
        if state.last_error is not None and not state.is_healthy:
            self._failed_poll(job.job_id, state.last_error)
        elif state.status is not None and not state.status.is_known:
            word = shorten(state.status)
            if word not in self._words and len(self._words) < _MAX_LOGGED_WORDS:
                self._words.add(word)
                logger.warning("job %s: unknown status %a, polling on", job.job_id, word)

    def _failed_poll(self, job_id: str, error: SieveError) -> None:
        self._failed += 1
        now = loop_time()
        if now < self._silent_until:
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("job %s: poll failed, retrying: %s", job_id, shorten(str(error)))
            return
        self._silent_until = now + _LOG_INTERVAL
        line = "polls failed (%d), retrying: job %s: %s"
        logger.warning(line, self._failed, job_id, shorten(str(error)))
        self._failed = 0
