"""Run the embedded server for programs in other languages, and by hand."""

import asyncio
import signal

from sieve_async.testing import FakeSieve


async def serve(*, port: int, jobs: int, seed: int, speed: float) -> int:
    """Serve until interrupted."""
    async with FakeSieve(port=port, speed=speed) as sieve:
        ids = sieve.add_jobs(jobs, seed=seed, restart_rate=0.1)
        sieve.add_version("sieve", "dubbing", queued=1, building=5, pushing=2, deploying=2)
        print(f"export SIEVE_API_URL={sieve.url} SIEVE_API_KEY={sieve.api_key}")
        for path in [f"/v2/jobs/{ids[0]}"] * bool(ids) + [
            "/v2/functions/sieve/dubbing/versions/latest"
        ]:
            print(f'curl -H "X-API-Key: $SIEVE_API_KEY" {sieve.url}{path}', flush=True)
        await _interruption()
        print(f"answered {len(sieve.requests)} requests")
    return 0


async def _interruption() -> None:
    """Wait for Ctrl-C or SIGTERM: for a server both are the ordinary end."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    await interrupted.wait()
