"""Jobs that a program pushes to the fake server, and cancels."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, host_and_port, output_data, wait_until_in_flight
from sieve_async.testing import FakeSieve

Send: TypeAlias = Callable[..., Awaitable[Document]]
PUSH_KEYS = {
    *("id", "run_id", "stream_output", "status", "organization_id", "model_id", "workflow_id")
}
NO_FUNCTION = {"detail": "Function not found.", "http": 404}
INVALID_FUNCTION = {"detail": "Invalid function specified.", "http": 400}


@pytest.fixture
def send(session: aiohttp.ClientSession) -> Send:
    """Send a JSON body, or none, and get the answer's document with its status as ``http``."""

    async def call(method: str, path: str, body: object = None) -> Document:
        async with session.request(method, path, json=body) as response:
            document: Document = await response.json()
            return document | {"http": response.status}

    return call


@pytest.fixture
def push(send: Send) -> Send:
    """Push a job of me/mine, or of another function, with other members of the body."""

    async def call(function: str = "me/mine", inputs: Any = None, **members: object) -> Document:
        body = {"function": function, "inputs": inputs or {}, **members}
        return await send("POST", "/v2/push", body)

    return call


# Pushing


@pytest.mark.looptime
async def test_script(sieve: FakeSieve, get: Get, push: Send) -> None:
    """A push answers with the documented members; its job continues as its function is scripted."""
    sieve.script_function("me/mine", queued=2, processing=7, outputs=["done"])
    pushed = await push(inputs={"text": "hi", "data": {"data": 1}})
    seen = []
    for pause in (2, 7, 0):
        seen.append(await get(f"/v2/jobs/{pushed['id']}"))
        await asyncio.sleep(pause)
    assert pushed.keys() == PUSH_KEYS | {"http"}
    assert (pushed["http"], pushed["status"]) == (200, "queued")
    assert pushed["run_id"] == seen[0]["run_id"]
    assert [job["status"] for job in seen] == ["queued", "processing", "finished"]
    assert output_data(seen[2]) == ["done"]
    inputs = {name: each["data"] for name, each in seen[2]["inputs"].items()}
    assert inputs == {"text": "hi", "data": {"data": 1}}
    assert seen[2]["function_id"] == pushed["model_id"][:7]


async def test_outputs_from_the_inputs(sieve: FakeSieve, get: Get, push: Send) -> None:
    """A callable gets what was pushed; when it raises, the job fails with its traceback."""
    sieve.script_function("me/mine", outputs=lambda inputs: [inputs["text"].upper()])
    ids = [(await push(inputs=inputs))["id"] for inputs in ({"text": "hi"}, ["a", "b"])]
    good, bad = [await get(f"/v2/jobs/{job_id}") for job_id in ids]
    assert (good["status"], output_data(good), good["error"]) == ("finished", ["HI"], "")
    assert (bad["status"], bad["outputs"]) == ("error", [])
    assert bad["error"].startswith("Traceback")
    assert {name: each["data"] for name, each in bad["inputs"].items()} == {"0": "a", "1": "b"}


@pytest.mark.parametrize("made", ["text", {"url": "u"}, [object()], None])
async def test_callables_that_make_no_outputs(
    sieve: FakeSieve, get: Get, push: Send, made: Any
) -> None:
    """So it does when what the callable returns is no list of JSON values."""
    sieve.script_function("me/mine", outputs=lambda _: made)

    failed = await get(f"/v2/jobs/{(await push())['id']}")

    assert (failed["status"], failed["outputs"]) == ("error", [])
    assert failed["error"].startswith("Traceback")


async def test_pushes_are_recorded(sieve: FakeSieve, push: Send) -> None:
    """Every accepted push is there with all that was sent; the environment is never printed."""
    sieve.script_function("me/mine")
    hook = {"type": "job.start", "url": "https://x.test/hook"}
    pushed = await push("me/mine:latest", {"a": [1]}, env={"TOKEN": "canary"}, webhooks=[hook])
    await push("me/unknown")
    [made] = sieve.pushes
    assert (made.job_id, made.version_id) == (pushed["id"], pushed["model_id"])
    assert (made.function, made.inputs) == ("me/mine", {"a": [1]})
    assert made.env == {"TOKEN": "canary"}
    assert [(each.type, each.url) for each in made.webhooks] == [(hook["type"], hook["url"])]
    assert "canary" not in repr(made)
    assert hash(made) == hash(sieve.pushes[0])


async def test_version(sieve: FakeSieve, get: Get, send: Send, push: Send) -> None:
    """By name and slug, by the id of a version, or by the beginning of one."""
    for version_id in ("aaaa-1", "bbbb-2"):
        sieve.add_version("me", "mine", version_id)
    slugs = ("me/mine", "me/mine:latest", "me/mine:aaaa-1", "me/mine:aaa")
    by_name = [(await push(slug))["model_id"] for slug in slugs]
    bodies: list[Document] = [{"id": each, "inputs": {}} for each in ("aaaa-1", "bbb", "zzz")]
    *by_id, unknown = [await send("POST", "/v2/push", body) for body in bodies]
    lists = [
        len((await get(f"/v2/functions/me/mine/versions/{slug}/jobs"))["data"])
        for slug in ("aaaa-1", "latest", "b")
    ]
    assert by_name == ["bbbb-2", "bbbb-2", "aaaa-1", "aaaa-1"]
    assert [each["model_id"] for each in by_id] == ["aaaa-1", "bbbb-2"]
    assert (lists, unknown) == ([3, 3, 3], NO_FUNCTION)


async def test_functions_without_a_script(sieve: FakeSieve, get: Get, push: Send) -> None:
    """A function of a job accepts pushes, another one is not found; ``"*"`` stands for all."""
    sieve.add_job(function="me/known")
    known = await push("me/known")
    unknown = [await push(function) for function in ("me/other", "me/known:zzz")]
    sieve.script_function("*", outputs=["any"])
    sieve.script_function("me/mine", outputs=["mine"])
    seen = []
    for function in ("me/mine", "me/known", "you/new"):
        pushed = await push(function)
        seen += output_data(await get(f"/v2/jobs/{pushed['id']}"))
    assert (await get(f"/v2/jobs/{known['id']}"))["status"] == "finished"
    assert unknown == [NO_FUNCTION] * 2
    assert seen == ["mine", "any", "any"]
    assert (await get("/v2/functions/you/new"))["owner_name"] == "you"


@pytest.mark.parametrize("function", ["mine", "me/mine:", "a/b/c", "me/m ine", "", None])
async def test_malformed_function(sieve: FakeSieve, push: Send, function: str | None) -> None:
    """What is not OWNER/NAME[:VERSION], or beside an id, is an invalid function."""
    sieve.script_function("*")
    assert await push(function) == INVALID_FUNCTION
    assert await push(id="aaaa") == INVALID_FUNCTION
    assert sieve.pushes == []


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"inputs": None}, ["inputs"]),
        ({"inputs": "text"}, ["inputs"]),
        ({"function": 7}, ["function"]),
        ({"id": 7}, ["id"]),
        ({"env": []}, ["env"]),
        ({"webhooks": {}}, ["webhooks"]),
        ({"webhooks": [7]}, ["webhooks", 0, "type"]),
        ({"webhooks": [{"type": "job.end", "url": "u"}]}, ["webhooks", 0, "type"]),
        ({"webhooks": [{"type": "job.start"}]}, ["webhooks", 0, "url"]),
    ],
)
async def test_invalid_body(
    sieve: FakeSieve, send: Send, members: Document, place: list[str | int]
) -> None:
    """The error names the place, and nothing is started."""
    sieve.script_function("me/mine")
    refused = await send("POST", "/v2/push", {"function": "me/mine", "inputs": {}} | members)
    [problem] = refused["detail"]
    assert (refused["http"], problem["loc"]) == (422, ["body", *place])
    assert problem.keys() == {"type", "loc", "msg"}
    assert sieve.pushes == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "json_invalid"),
        (b"[]", "model_attributes_type"),
        (b'{"function":"a/b"}', "missing"),
        (b'{"function":"a/b","inputs":{"x":NaN}}', "json_invalid"),
        (b'{"function":"a/b","inputs":{"x":1e999}}', "json_invalid"),
        (
            b'{"function":"a/b","inputs":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
            "json_invalid",
        ),
    ],
)
async def test_malformed_body(
    sieve: FakeSieve, session: aiohttp.ClientSession, body: bytes, kind: str
) -> None:
    """So is a body that is no JSON object, or lacks a member."""
    async with session.post("/v2/push", data=body) as response:
        [problem] = (await response.json())["detail"]
    assert (response.status, problem["type"], sieve.pushes) == (422, kind, [])


async def test_cut_body(sieve: FakeSieve, caplog: pytest.LogCaptureFixture) -> None:
    """A push whose body does not arrive as a whole starts nothing, and is no request yet."""
    sieve.script_function("me/mine")
    head = f"POST /v2/push HTTP/1.1\r\nHost: x\r\nX-API-Key: {sieve.api_key}\r\n"
    body = b'{"function":"me/mine","inputs":{}}'
    _, writer = await asyncio.open_connection(*host_and_port(sieve))
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
    await wait_until_in_flight(sieve)
    writer.close()
    await writer.wait_closed()
    while sieve.in_flight:  # noqa: ASYNC110 - the server has no event for this
        await asyncio.sleep(0)
    assert (sieve.pushes, len(sieve.requests)) == ([], 0)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


# Faults that are special to requests with an effect


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("fault", "is_accepted"),
    [
        ({"drop": "before"}, False),
        ({"drop": "after"}, True),
        ({"drop": "headers"}, True),
        ({"drop": "body"}, True),
        ({"status": 504}, False),
        ({"status": 504, "takes_effect": True}, True),
        ({"delay": 60}, False),
        ({"delay": 60, "takes_effect": True}, True),
        ({"delay": 60, "drop": "after"}, True),
    ],
)
async def test_faulty_push(
    sieve: FakeSieve, push: Send, fault: Document, *, is_accepted: bool
) -> None:
    """The client never knows, and the server may have started a job or not."""
    sieve.script_function("me/mine")
    sieve.fault(path="/v2/push", **fault)
    try:
        async with asyncio.timeout(30):
            assert (await push())["http"] == 504
    except aiohttp.ClientError:
        assert "drop" in fault
    except TimeoutError:
        assert "delay" in fault
    assert [made.at for made in sieve.pushes] == [0] * is_accepted


# Canceling


@pytest.mark.looptime
@pytest.mark.parametrize(("at", "started"), [(1, False), (5, True)])
async def test_cancel(sieve: FakeSieve, get: Get, send: Send, at: float, *, started: bool) -> None:
    """A job that is queued or processing is cancelled now, stays so, and its awaits end."""
    sieve.add_job("j", queued=2, processing=8, outputs=[1, 2, 3, 4], streams=True, restarts=1)
    waiting = asyncio.ensure_future(get("/v2/jobs/j/await"))
    await asyncio.sleep(at)
    answer = await send("DELETE", "/v2/jobs/j")
    seen = await waiting
    ended_at = asyncio.get_running_loop().time()
    await asyncio.sleep(100)
    lists = [await get(f"/v2/jobs?status={word}") for word in ("cancelled", "finished")]
    assert (answer, ended_at) == ({"message": "Job cancelled.", "http": 200}, at)
    assert seen == await get("/v2/jobs/j")
    assert (seen["status"], seen["error"], seen["restarts"]) == ("cancelled", "", None)
    assert output_data(seen) == [1] * started
    assert (seen["started_at"] is not None) is started
    assert [len(page["data"]) for page in lists] == [1, 0]


async def test_cancel_by_polls(sieve: FakeSieve, get: Get, send: Send) -> None:
    """A job that goes by polls is cancelled where it is, also when the answer is lost."""
    sieve.add_job("j", queued=1, processing=5, by="polls")
    sieve.fault(method="DELETE", drop="after")
    seen = [await get("/v2/jobs/j")]
    with pytest.raises(aiohttp.ClientError):
        await send("DELETE", "/v2/jobs/j")
    seen += [await get("/v2/jobs/j") for _ in range(8)]
    assert [job["status"] for job in seen] == ["queued"] + ["cancelled"] * 8
    assert seen[-1]["started_at"] is None


async def test_cancel_of_a_terminal_job(sieve: FakeSieve, get: Get, send: Send) -> None:
    """The error is the documented one, and the job stays as it was."""
    sieve.add_job("j")
    before = await get("/v2/jobs/j")
    refused = [await send("DELETE", f"/v2/jobs/{name}") for name in ("j", "none")]
    assert refused == [
        {"detail": "Job is not processing.", "http": 400},
        {"detail": "Job not found.", "http": 404},
    ]
    assert await get("/v2/jobs/j") == before
    assert sieve.requests_after_terminal("j") == 1  # the lookup, not the cancel


async def test_callables_that_exit(sieve: FakeSieve, get: Get, push: Send) -> None:
    """A callable that ends its program fails its job, and the server continues."""
    sieve.script_function("me/mine", outputs=lambda _: sys.exit("no model"))

    failed = await get(f"/v2/jobs/{(await push())['id']}")

    assert failed["status"] == "error"
    assert failed["error"].endswith("SystemExit: no model\n")
