"""Answers about several runs of a job, and watches that share its polls."""

import asyncio
from typing import Any

import pytest

from helpers.raw_server import JOB, Document, RawRequest, Script, ScriptedServer, job_json, respond
from sieve_async import SieveClient
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


def run_json(request: RawRequest, outputs: list[str], **fields: Any) -> Script:
    """A script of the document of a run, without the outputs that are held already."""
    document: Document = job_json(outputs=[{"data": data} for data in outputs], **fields)
    document["outputs"] = document["outputs"][request.offset :]
    return respond(document)


async def test_lagging_replica_without_run_ids() -> None:
    """Outputs of the first run are not taken for those of the second, whatever comes between."""
    first = [f"first-{number}" for number in range(5)]
    second = [f"second-{number}" for number in range(6)]

    def reply(request: RawRequest) -> Script:
        number = request.times
        if number == 0 or (number % 2 and number < 9):
            return run_json(request, first, status="processing", run_id=None, restarts=[])
        status = "processing" if number < 9 else "finished"
        return run_json(request, second[:number], status=status, run_id=None, restarts=[{}])

    async with ScriptedServer(reply) as server, server.client() as client:
        job = await client.wait_for_job(JOB, timeout=120)

    assert job.data == tuple(second)


async def test_elapsed_of_shared_waits(sieve: FakeSieve, client: SieveClient) -> None:
    """Each watch counts the seconds of its own, also where it shares the polls of another."""
    job_id = sieve.add_job(processing=50)
    first = asyncio.create_task(client.wait_for_jobs([job_id]))
    await asyncio.sleep(30)

    second = await client.wait_for_jobs([job_id])

    assert 50 <= (await first)[0].elapsed <= 55
    assert 20 <= second[0].elapsed <= 25
