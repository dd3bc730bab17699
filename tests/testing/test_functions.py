"""Functions, their versions, and what their jobs cost, on the fake server."""

import asyncio

import aiohttp
import pytest

from helpers.http_helpers import JOB_KEYS, Get
from sieve_async.testing import FakeSieve

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
