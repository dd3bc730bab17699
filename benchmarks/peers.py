"""The asynchronous clients of other services, each at the job lookup that is natural to it.

They have the settings that they come with, but for a pool that has room for all requests, where its
own has less. They are imported only when they take their turns.
"""

import dataclasses
import importlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

from benchmarks.asking import API_KEY, Contender, attribute

_Open: TypeAlias = Callable[[AsyncExitStack, str, int], Awaitable[Contender]]


async def _openai(stack: AsyncExitStack, url: str, _: int) -> Contender:
    openai: Any = importlib.import_module("openai")
    client = await stack.enter_async_context(
        openai.AsyncOpenAI(api_key=API_KEY, base_url=f"{url}/v1")
    )
    return Contender("batch", client.batches.retrieve, attribute)


async def _anthropic(stack: AsyncExitStack, url: str, _: int) -> Contender:
    anthropic: Any = importlib.import_module("anthropic")
    client = await stack.enter_async_context(
        anthropic.AsyncAnthropic(api_key=API_KEY, base_url=url)
    )
    return Contender("messages", client.messages.batches.retrieve, attribute)


async def _replicate(_: AsyncExitStack, url: str, in_flight: int) -> Contender:
    replicate: Any = importlib.import_module("replicate")
    httpx: Any = importlib.import_module("httpx")
    # With fewer kept alive than there may be, httpx closes and opens them all the time.
    most = max(100, in_flight)
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
    client = replicate.Client(
        api_token=API_KEY, base_url=url, transport=httpx.AsyncHTTPTransport(limits=limits)
    )
    return Contender("prediction", client.predictions.async_get, attribute)


async def _fal(_: AsyncExitStack, url: str, __: int) -> Contender:
    fal: Any = importlib.import_module("fal_client")
    handle = await fal.AsyncClient(key=API_KEY).get_handle("example/dubbing", "none")

    async def ask(request_id: str) -> Any:
        # The addresses come with the answer to what was submitted; with logs, the answer is as
        # large as that of the others.
        status_url = f"{url}/example/dubbing/requests/{request_id}/status"
        mine = dataclasses.replace(handle, request_id=request_id, status_url=status_url)
        return await mine.status(with_logs=True)

    return Contender("request", ask, None)


async def _aiobotocore(stack: AsyncExitStack, url: str, in_flight: int) -> Contender:
    session: Any = importlib.import_module("aiobotocore.session")
    config: Any = importlib.import_module("aiobotocore.config")
    client = await stack.enter_async_context(
        session.get_session().create_client(
            "mediaconvert",
            region_name="eu-west-1",
            endpoint_url=url,
            aws_access_key_id=API_KEY,
            aws_secret_access_key=API_KEY,
            config=config.AioConfig(max_pool_connections=max(10, in_flight)),
        )
    )

    async def ask(job_id: str) -> Any:
        return await client.get_job(Id=job_id)

    return Contender("media", ask, _media_id)


def _media_id(answer: Any) -> str:
    found: str = answer["Job"]["Id"]
    return found


PEERS: Mapping[str, tuple[str, _Open]] = {
    "openai": ("openai", _openai),
    "anthropic": ("anthropic", _anthropic),
    "replicate": ("replicate", _replicate),
    "fal": ("fal_client", _fal),
    "aiobotocore": ("aiobotocore", _aiobotocore),
}
"""By name: the module that must be there, and what opens the client."""
