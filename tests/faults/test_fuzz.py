"""The targets of the fuzzer, run over their seeds and over bytes that hypothesis draws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.fuzz.targets import TARGETS

BYTES = st.binary(max_size=64) | st.binary(min_size=200, max_size=400)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    """Every promise holds for the bytes that a fuzzer begins with."""
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    """Every promise holds for any bytes."""
    target = TARGETS[name]
    steady = settings(derandomize=True, deadline=None, max_examples=target.examples)

    @steady
    @given(BYTES)
    def run(data: bytes) -> None:
        target.run(data)

    run()
