"""From a request to its answer: the documented paths, the key, the checks; no HTTP objects."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from sieve_async.testing.population import Population

Handler: TypeAlias = Callable[..., "Answer"]


@attrs.frozen
class Question:
    """What of a request decides its answer."""

    method: str
    path: str
    query: Mapping[str, str]
    key_accepted: bool


@attrs.frozen
class Answer:
    """A status, the JSON of the body, and which version was shown if it was one."""

    status: int
    document: object
    headers: Mapping[str, str] = attrs.field(factory=dict)
    version_id: str | None = None


def answer(question: Question, population: Population) -> Answer:
    """Answer one request; looking at a life that goes by polls moves it."""
    if question.path.startswith("/v2/") and not question.key_accepted:
        return _refusal(401, "Invalid API key")
    for pattern, handler in ROUTES:
        if match := pattern.fullmatch(question.path):
            if question.method != "GET":
                return attrs.evolve(_refusal(405, "Method Not Allowed"), headers={"Allow": "GET"})
            return handler(population, question.query, *match.groups())
    return _refusal(404, "Not Found")


def get_job(population: Population, query: Mapping[str, str], job_id: str) -> Answer:
    """Answer GET /v2/jobs/{job_id}."""
    offset = query.get("offset", "0")
    if problem := _offset_problem(offset):
        return Answer(422, {"detail": [problem]})
    document = population.look_at_job(job_id, offset=int(offset))
    return Answer(200, document) if document else _refusal(404, "Job not found")


def get_version(
    population: Population, _: Mapping[str, str], owner_name: str, function_name: str, slug: str
) -> Answer:
    """Answer GET /v2/functions/{owner_name}/{function_name}/versions/{version_slug}."""
    version_id = population.resolve_version(f"{owner_name}/{function_name}", slug)
    if version_id is None:
        return _refusal(404, "Function version not found")
    return Answer(200, population.look_at_version(version_id), version_id=version_id)


ROUTES: tuple[tuple[re.Pattern[str], Handler], ...] = (
    (re.compile(r"/v2/jobs/([^/]+)"), get_job),
    (re.compile(r"/v2/functions/([^/]+)/([^/]+)/versions/([^/]+)"), get_version),
)


def _refusal(status: int, detail: str) -> Answer:
    return Answer(status, {"detail": detail})


def _offset_problem(text: str) -> dict[str, object] | None:
    """Complain about an offset in the words of the framework that Sieve's 422 answers show."""
    problem: dict[str, object] = {"loc": ["query", "offset"], "input": text}
    try:
        number = int(text)
    except ValueError:
        message = "Input should be a valid integer, unable to parse string as an integer"
        return {"type": "int_parsing", "msg": message} | problem
    if number >= 0:
        return None
    message = "Input should be greater than or equal to 0"
    return {"type": "greater_than_equal", "msg": message, "ctx": {"ge": 0}} | problem
