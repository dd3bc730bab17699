"""What the fake server answers about jobs, builds and functions, and what it refuses."""

import asyncio
from datetime import timedelta

import aiohttp
import pytest

from helpers.http_helpers import JOB_KEYS, VERSION_KEYS, Document, Get, duration_between
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_build_goes_through_all_states(sieve: FakeSieve, get: Get) -> None:
    """Each state lasts as long as scripted; built comes before pushed, and ready last."""
    spans: Document = {"queued": 1, "building": 1, "pushing": 1, "deploying": 1}
    sieve.add_version("me", "mine", "v", **spans, gpu=True, new_key=None)
    seen = []
    for _ in range(5):
        seen.append(await get("/v2/functions/me/mine/versions/latest"))
        await asyncio.sleep(1)
    states = ["queued", "building", "pushing", "deploying", "ready"]
    assert [version["build_status"] for version in seen] == states
    assert [version["built_at"] is None for version in seen] == [True, True, False, False, False]
    assert [version["ready_at"] is None for version in seen] == [True] * 4 + [False]
    assert duration_between(seen[4], "queued_at", "built_at") == timedelta(seconds=2)
    assert duration_between(seen[4], "queued_at", "ready_at") == timedelta(seconds=4)
    assert " ".join(seen[4]) == f"{VERSION_KEYS} new_key http"
    assert seen[4]["gpu"] is True


async def test_failed_build_was_not_built(sieve: FakeSieve, get: Get) -> None:
    """A build that failed while building has no later times; one failed in deploying has."""
    sieve.add_version("me", "mine", "early", building=1, status="error", by="polls")
    sieve.add_version("me", "mine", "late", deploying=1, status="error", by="polls")
    path = "/v2/functions/me/mine/versions"
    seen = [await get(f"{path}/{name}") for name in ("early", "early", "late", "late")]
    states = ["building", "error", "deploying", "error"]
    assert [version["build_status"] for version in seen] == states
    assert [version["built_at"] is None for version in seen] == [True, True, False, False]
    assert [version["ready_at"] for version in seen] == [None] * 4


async def test_version_is_found_by_id_prefix_or_latest(sieve: FakeSieve, get: Get) -> None:
    """A prefix must be of one version only; a full id wins over being a prefix; latest moves."""
    path = "/v2/functions/me/mine/versions"
    for version_id in ("abc1", "abc2", "abc"):
        sieve.add_version("me", "mine", version_id)
    sieve.add_version("me", "other", "abd")
    found = [await get(f"{path}/{slug}") for slug in ("latest", "abc", "abc1", "ab", "abd", "x")]
    unknown = await get("/v2/functions/me/none/versions/latest")
    newer = sieve.add_version("me", "mine")
    moved = await get(f"{path}/latest")
    assert [version.get("id") for version in found] == ["abc", "abc", "abc1", None, None, None]
    assert [version["http"] for version in found] == [200, 200, 200, 404, 404, 404]
    assert unknown == {"detail": "Function version not found.", "http": 404}
    assert moved["id"] == newer
    assert (await get(f"{path}/{newer[:8]}"))["id"] == newer


async def test_key_is_checked(sieve: FakeSieve) -> None:
    """Everything that is there needs the right key, and a revoked key is refused."""
    job_id = sieve.add_job()
    right = {"X-API-Key": sieve.api_key}

    async def status(path: str, headers: dict[str, str]) -> int:
        async with aiohttp.request("GET", sieve.url + path, headers=headers) as response:
            return response.status

    refused = [await status(f"/v2/jobs/{job_id}", key) for key in ({}, {"X-API-Key": "wrong"})]
    outside = [await status(path, {}) for path in ("/", "/v2/nowhere", "/v2/jobs")]
    accepted = await status(f"/v2/jobs/{job_id}", right)
    sieve.revoke_key()
    revoked = await status(f"/v2/jobs/{job_id}", right)
    assert (refused, outside) == ([401, 401], [404, 404, 401])
    assert (accepted, revoked) == (200, 401)
    assert [entry.key_accepted for entry in sieve.requests] == [False] * 5 + [True, False]


async def test_unknown_things_are_not_found(sieve: FakeSieve, get: Get) -> None:
    """A removed job is not found, an unknown path has another text."""
    sieve.add_job("j")
    sieve.remove_job("j")
    assert await get("/v2/jobs/j") == {"detail": "Job not found.", "http": 404}
    assert await get("/v2/jobs/a/b") == {"detail": "Not Found", "http": 404}
    assert await get("/v2/jobs/") == {"detail": "Not Found", "http": 404}
    sieve.add_job("j")
    assert (await get("/v2/jobs/j"))["http"] == 200


async def test_wrong_method_is_refused(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """The answer to a wrong method names the allowed ones, and the log counts its bytes."""
    job_id = sieve.add_job()
    async with session.post(f"/v2/jobs/{job_id}", json={}) as posted:
        refused = await posted.json()
    async with session.head(f"/v2/jobs/{job_id}") as headed:
        nothing = await headed.read()
    assert (posted.status, headed.status, nothing) == (405, 405, b"")
    assert refused == {"detail": "Method Not Allowed"}
    assert posted.headers["Allow"] == "GET, DELETE"
    assert [entry.body_bytes for entry in sieve.requests] == [31, 0]


FUNCTION_KEYS = (
    "name owner_name visibility title code_url description tags cover_image_url examples readme "
    "latest_version function_type webhooks restart_on_error"
)


async def test_function_document_is_complete(sieve: FakeSieve, get: Get) -> None:
    """Every documented member is there, the latest version included."""
    sieve.add_version("me", "mine", "old")
    sieve.add_version("me", "mine", "new", building=1, by="polls")
    function = [await get("/v2/functions/me/mine") for _ in range(3)][-1]  # which is no poll
    assert " ".join(function) == f"{FUNCTION_KEYS} http"
    assert (function["owner_name"], function["name"]) == ("me", "mine")
    latest = function["latest_version"]
    assert (latest["id"], latest["build_status"]) == ("new", "building")


async def test_function_of_a_job_has_a_version(sieve: FakeSieve, get: Get) -> None:
    """A function that only jobs name has a ready version, whose id jobs begin to name."""
    sieve.add_job("j", function="me/mine", fields={"visibility": "private", "new_key": [1]})
    job = await get("/v2/jobs/j")
    path = "/v2/functions/me/mine/versions"
    latest = await get(f"{path}/latest")
    by_prefix = await get(f"{path}/{job['function_id']}")
    sieve.add_version("me", "mine", "newer")
    sieve.add_job("k", function="me/mine")
    jobs = [
        [row["id"] for row in (await get(f"{path}/{slug}/jobs"))["data"]]
        for slug in (latest["id"], "newer")
    ]
    assert " ".join(job) == f"{JOB_KEYS} new_key http"
    assert (job["visibility"], job["new_key"]) == ("private", [1])
    assert job["function"] == {"name": "mine", "owner_name": "me"}
    assert latest["build_status"] == "ready"
    assert by_prefix == latest
    assert (await get(f"{path}/latest"))["id"] == "newer"
    assert jobs == [["j"], ["k"]]


async def test_lists_of_functions_and_versions(
    sieve: FakeSieve, get: Get, session: aiohttp.ClientSession
) -> None:
    """Both are bare arrays, in pages until a short one."""
    sieve.add_version("me", "first", "a")
    sieve.add_version("me", "first", "b")
    sieve.script_function("me/second")

    async def rows(path: str, key: str) -> list[str]:
        async with session.get(path) as response:
            return [row[key] for row in await response.json()]

    queries = ("", "?limit=1", "?limit=1&offset=1", "?offset=2")
    functions = [await rows(f"/v2/functions{query}", "name") for query in queries]
    versions = await rows("/v2/functions/me/first/versions", "id")
    assert functions == [["first", "second"], ["first"], ["second"], []]
    assert versions == ["b", "a"]
    for end in ("", "/versions", "/jobs"):
        unknown = await get(f"/v2/functions/me/none{end}")
        assert unknown == {"detail": "Function not found.", "http": 404}


async def test_jobs_of_a_version(sieve: FakeSieve, get: Get) -> None:
    """They come in pages, and an unknown version is not found."""
    for number in range(3):
        sieve.add_job(str(number), function="me/mine")
    path = "/v2/functions/me/mine/versions"
    pages = [await get(f"{path}/latest/jobs?limit=2&offset={o}") for o in (0, 2, 10**30)]
    unknown = await get(f"{path}/zzz/jobs")
    ids = [[row["id"] for row in page["data"]] for page in pages]
    assert (ids, [page["next_offset"] for page in pages]) == ([["2", "1"], ["0"], []], [2, -1, -1])
    assert unknown == {"detail": "Function version not found.", "http": 404}


@pytest.mark.looptime
async def test_usage_of_a_job(sieve: FakeSieve, get: Get) -> None:
    """A job costs in proportion to its time of processing, and nothing in the queue."""
    sieve.add_job("j", queued=10, processing=100, function="me/mine")
    seen = []
    for pause in (5, 55, 1000, 0):
        seen.append(await get("/v2/usage/job/j"))
        await asyncio.sleep(pause)
    version = await get("/v2/functions/me/mine/versions/latest")
    assert [usage["cost"] for usage in seen] == [0, 0, 0.005, 0.01]
    assert (seen[0]["function_owner_name"], seen[0]["function_name"]) == ("me", "mine")
    assert (seen[0]["job_id"], seen[0]["function_id"]) == ("j", version["id"])
    assert (await get("/v2/usage/job/none"))["http"] == 404


@pytest.mark.looptime
async def test_concurrency(sieve: FakeSieve, get: Get) -> None:
    """Running jobs are counted as they are now."""
    sieve.add_job(queued=10, processing=10)
    sieve.add_job(processing=15)
    seen = []
    for _ in range(3):
        counts = await get("/v2/user/concurrency")
        seen.append([counts[f"num_{name}"] for name in ("current", "queued", "processing")])
        await asyncio.sleep(12)
    assert seen == [[2, 1, 1], [2, 0, 2], [0, 0, 0]]
