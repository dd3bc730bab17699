"""All outcomes of a watch, in the order in which the ids were given."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable

from sieve_async.outcomes import JobOutcome, OutcomeList
from sieve_async.watch.source import JobIds, close_source, plain_id_of
from sieve_async.watch.watch import JobWatch


async def gather_outcomes(job_ids: JobIds, watch: Callable[[JobIds], JobWatch]) -> OutcomeList:
    """Watch jobs until all have ended; an id that is given twice stands twice in the list.

    Args:
        job_ids: The ids.
        watch: Starts to watch ids.
    """
    taken: list[str | JobOutcome] = []
    source: JobIds
    if isinstance(job_ids, AsyncIterable):
        source = _recorded(job_ids, taken)
    else:
        source = _plain_ids(job_ids, taken)
    async with watch(source) as outcomes:
        found = {outcome.job_id: outcome async for outcome in outcomes}
    ended = (found.get(item) if isinstance(item, str) else item for item in taken)
    # An id that came after the end was not watched.
    return OutcomeList(outcome for outcome in ended if outcome is not None)


def _plain_ids(job_ids: Iterable[object], taken: list[str | JobOutcome]) -> list[str]:
    taken.extend(plain_id_of(job_id) for job_id in job_ids)
    return [item for item in taken if isinstance(item, str)]


async def _recorded(
    job_ids: AsyncIterable[object], taken: list[str | JobOutcome]
) -> AsyncIterator[str]:
    iterator = aiter(job_ids)
    try:
        async for job_id in iterator:
            item = plain_id_of(job_id)
            taken.append(item)
            if isinstance(item, str):
                yield item
    finally:
        await close_source(iterator)
