"""From a request to its answer: the documented paths, the key, the checks; no HTTP objects."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from sieve_async.testing.answers import Answer, refusal
from sieve_async.testing.documents import encode, page
from sieve_async.testing.holds import Wake
from sieve_async.testing.population import Population
from sieve_async.testing.residents import Resident

Handler: TypeAlias = Callable[..., "Answer | Held"]

# The documented default; nothing says what more would do, so a page is never longer.
LONGEST_PAGE = 500


@attrs.frozen
class Question:
    """What of a request decides its answer."""

    method: str
    path: str
    query: Mapping[str, str]
    key_accepted: bool


@attrs.frozen
class Held:
    """No answer yet: the request waits for the end of a job."""

    job: Resident
    offset: int


def answer(question: Question, population: Population) -> Answer | Held:
    """Answer one request; looking at a life that goes by polls moves it."""
    for pattern, handler in ROUTES:
        if match := pattern.fullmatch(question.path):
            if question.method != "GET":
                return attrs.evolve(refusal(405, "Method Not Allowed"), headers={"Allow": "GET"})
            if not question.key_accepted:
                return refusal(401, "Invalid API key")
            return handler(population, question.query, *match.groups())
    return refusal(404, "Not Found")


def answer_held(held: Held, wake: Wake, population: Population) -> Answer:
    """Answer a request that was held until now, without looking again."""
    match wake:
        case Wake.ENDED:
            return _show(population, held.job, held.offset)
        case Wake.REMOVED:
            return refusal(404, "Job not found")
        case _:
            return refusal(408, "Job has not ended yet")


def get_job(population: Population, query: Mapping[str, str], job_id: str) -> Answer:
    """Answer GET /v2/jobs/{job_id}."""
    if problems := _problems(query, offset=0):
        return problems
    job, offset = population.look_at_job(job_id), int(query.get("offset", 0))
    return refusal(404, "Job not found") if job is None else _show(population, job, offset)


def await_job(population: Population, query: Mapping[str, str], job_id: str) -> Answer | Held:
    """Answer GET /v2/jobs/{job_id}/await: at once, when the job has ended or is none."""
    if problems := _problems(query, offset=0):
        return problems
    job, offset = population.look_at_job(job_id), int(query.get("offset", 0))
    if job is None:
        return refusal(404, "Job not found")
    if not job.has_ended(population.clock.now()):
        return Held(job, offset)
    return _show(population, job, offset)


def list_jobs(
    population: Population, query: Mapping[str, str], function: str | None = None
) -> Answer:
    """Answer GET /v2/jobs. That the newest come first is our choice: no order is documented."""
    if problems := _problems(query, limit=1, offset=0):
        return problems
    rows, next_offset = population.list_jobs(
        function,
        status=query.get("status") or None,
        limit=min(int(query.get("limit", LONGEST_PAGE)), LONGEST_PAGE),
        offset=int(query.get("offset", 0)),
    )
    return Answer(200, page(rows, next_offset=next_offset))


def list_jobs_of_function(
    population: Population, query: Mapping[str, str], owner_name: str, function_name: str
) -> Answer:
    """Answer GET /v2/functions/{owner_name}/{function_name}/jobs."""
    function = f"{owner_name}/{function_name}"
    if problems := _problems(query, limit=1, offset=0):
        return problems
    if not population.knows_function(function):
        return refusal(404, "Function not found")
    return list_jobs(population, query, function)


def get_version(
    population: Population, _: Mapping[str, str], owner_name: str, function_name: str, slug: str
) -> Answer:
    """Answer GET /v2/functions/{owner_name}/{function_name}/versions/{version_slug}."""
    version_id = population.resolve_version(f"{owner_name}/{function_name}", slug)
    if version_id is None:
        return refusal(404, "Function version not found")
    return Answer(200, population.look_at_version(version_id), version_id=version_id)


ROUTES: tuple[tuple[re.Pattern[str], Handler], ...] = (
    (re.compile(r"/v2/jobs/([^/]+)"), get_job),
    (re.compile(r"/v2/jobs/([^/]+)/await"), await_job),
    (re.compile(r"/v2/jobs"), list_jobs),
    (re.compile(r"/v2/functions/([^/]+)/([^/]+)/jobs"), list_jobs_of_function),
    (re.compile(r"/v2/functions/([^/]+)/([^/]+)/versions/([^/]+)"), get_version),
)


def _show(population: Population, job: Resident, offset: int) -> Answer:
    body, has_ended = population.show(job, offset=offset)
    return Answer(200, body, ended_job_id=job.script.id if has_ended else None)


def _problems(query: Mapping[str, str], **least: int) -> Answer | None:
    """Refuse numbers that are none, or less than the least allowed."""
    found = [
        problem
        for name, minimum in least.items()
        if name in query and (problem := _problem(name, query[name], minimum))
    ]
    return Answer(422, encode({"detail": found})) if found else None


def _problem(name: str, text: str, minimum: int) -> dict[str, object] | None:
    """Complain about a number in the words of the framework that Sieve's 422 answers show."""
    problem: dict[str, object] = {"loc": ["query", name], "input": text}
    try:
        number = int(text)
    except ValueError:
        message = "Input should be a valid integer, unable to parse string as an integer"
        return {"type": "int_parsing", "msg": message} | problem
    if number >= minimum:
        return None
    message = f"Input should be greater than or equal to {minimum}"
    return {"type": "greater_than_equal", "msg": message, "ctx": {"ge": minimum}} | problem
