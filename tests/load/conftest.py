"""Fixtures of the load tests."""

import logging

import pytest


@pytest.fixture(autouse=True)
def no_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    """Do not keep a log record of each request."""
    caplog.set_level(logging.INFO)
