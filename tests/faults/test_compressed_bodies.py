"""Compressed bodies in pieces, and bytes after a compressed body."""

import gzip

import pytest

from helpers.raw_server import JOB, RawServer, Script
from sieve_async import DecodeError, RetryPolicy

DOCUMENT = b'{"id": "job-1", "status": "finished"}'


def head_of(body: bytes) -> bytes:
    """The head of a gzip response."""
    lines = f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n"
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()


async def test_compressed_body_in_pieces() -> None:
    """A compressed body may arrive in any pieces."""
    packed = gzip.compress(DOCUMENT)
    script: Script = [head_of(packed), 0.01, packed[:10], 0.01, packed[10:20], 0.01, packed[20:]]
    async with RawServer(script) as server, server.client() as client:
        assert (await client.get_job(JOB)).succeeded


async def test_second_compressed_body() -> None:
    """A second gzip member makes the body unusable."""
    packed = gzip.compress(DOCUMENT) + gzip.compress(b"{}")
    retry = RetryPolicy(max_attempts=1)
    async with (
        RawServer([head_of(packed) + packed]) as server,
        server.client(retry=retry) as client,
    ):
        with pytest.raises(DecodeError):
            await client.get_job(JOB)
