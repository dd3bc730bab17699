"""The life of a job around its wait: push, find, run, cancel, list."""

from sieve_async.jobs.find import Search
from sieve_async.jobs.inputs import PushArguments, check_push
from sieve_async.jobs.lifecycle import JobList, cancel_job, list_jobs, run_job
from sieve_async.jobs.push import PushedJob, Pusher, PushLog

__all__ = [
    "JobList",
    "PushArguments",
    "PushLog",
    "PushedJob",
    "Pusher",
    "Search",
    "cancel_job",
    "check_push",
    "list_jobs",
    "run_job",
]
