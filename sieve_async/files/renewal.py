"""Fresh URLs for files whose signed URL has expired."""

import asyncio
from collections.abc import Awaitable, Callable

from sieve_async.errors import FileExpiredError, SieveError
from sieve_async.files.hosts import without_query
from sieve_async.models import File, Job


class Renewal:
    """Looks up the job of an expired file, each job once, however many of its files have expired.

    Args:
        get_job: Looks up a job.
    """

    def __init__(self, get_job: Callable[[str], Awaitable[Job]]) -> None:
        self._get_job = get_job
        self._jobs: dict[str, Job] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, file: File) -> File | None:
        """The same file with the URL that the API gives now; None where it gives none.

        Raises:
            FileExpiredError: The job is not known, or could not be looked up.
        """
        url = without_query(file.url)
        if file.job_id is None:
            raise FileExpiredError("the URL has expired, and its job is not known", url)
        async with self._lock:
            if file.job_id not in self._jobs:
                try:
                    self._jobs[file.job_id] = await self._get_job(file.job_id)
                except SieveError as error:
                    reason = f"the URL has expired, and its job cannot be looked up: {error}"
                else:
                    reason = ""
                if reason:
                    raise FileExpiredError(reason, url)
        files = self._jobs[file.job_id].files
        return next((each for each in files if without_query(each.url) == url), None)
