"""What a wait says of arguments that it refuses."""

import pytest

from sieve_async import SieveClient


@pytest.mark.parametrize("seconds", ["5", b"5", True], ids=["text", "bytes", "bool"])
async def test_kind_of_a_bad_timeout(seconds: object) -> None:
    """A timeout that is no number is refused with what it is instead."""
    async with SieveClient("key", base_url="http://127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="timeout must be seconds"):
            await client.wait_for_job("job", timeout=seconds)  # type: ignore[arg-type] # that is the point
