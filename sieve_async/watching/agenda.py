"""Which job is due next: pure, no clock and no tasks."""

import heapq
from collections import deque
from operator import attrgetter

from sieve_async.watching.watch import Watch


class Agenda:
    """The planned looks: urgent ones, new jobs in the order in which they came, then by their time.

    Jobs that are watched no more are passed over.
    """

    def __init__(self) -> None:
        self._only: Watch | None = None
        self._only_is_taken = False
        self._urgent: deque[Watch] = deque()
        self._new: deque[Watch] = deque()
        self._heap: list[Watch] = []

    def add(self, watch: Watch) -> None:
        """Plan the next look at a job."""
        heapq.heappush(self._heap, watch)

    def add_new(self, watch: Watch) -> None:
        """Plan the first look at a job, behind those that came before."""
        self._new.append(watch)

    def add_urgent(self, watch: Watch) -> None:
        """Plan a look before all others: the last one has left something open."""
        self._urgent.append(watch)

    def add_only(self, watch: Watch) -> bool:
        """Plan a look, and none at any other job before its outcome; False if there is such a one.

        ``settle`` ends this.
        """
        if self._only is not None and self._only.askers:
            return False
        self._only, self._only_is_taken = watch, False
        return True

    def settle(self, watch: Watch) -> None:
        """Take note that a look came back."""
        if watch is self._only:
            self._only = None

    def next_due(self) -> float | None:
        """When the first look is due; None when none is planned."""
        first = self._first()
        return None if first is None else first.due

    def take(self) -> Watch:
        """The job whose look is due first; there must be one."""
        first = self._first()
        if first is not None and first is self._only:
            self._only_is_taken = True
            return first
        for queue in (self._urgent, self._new):
            if queue and first is queue[0]:
                return queue.popleft()
        return heapq.heappop(self._heap)

    def reorder(self) -> None:
        """Look anew at when the jobs are due, for some of it was changed."""
        self._heap = [watch for watch in self._heap if watch.askers]
        self._heap.sort(key=attrgetter("due"))  # what is sorted is a heap, too

    def compact(self) -> None:
        """Let go of the memory of jobs that are watched no more, once they are many."""
        if self._heap and not self._heap[0].askers and not self._heap[-1].askers:
            self.reorder()

    def _first(self) -> Watch | None:
        if self._only is not None and self._only.askers:
            return None if self._only_is_taken else self._only
        for queue in (self._urgent, self._new):
            while queue and not queue[0].askers:
                queue.popleft()
        while self._heap and not self._heap[0].askers:
            heapq.heappop(self._heap)
        if self._urgent:
            return self._urgent[0]
        if not self._heap:
            return self._new[0] if self._new else None
        return min(self._new[0], self._heap[0]) if self._new else self._heap[0]
