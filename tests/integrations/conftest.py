"""Tests of the adapters for engines, each of which is there only in an environment of its own."""

import atexit
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from helpers.leak_checks import KEY

collect_ignore = [
    f"test_{engine}.py"
    for engine, module in {
        "airflow": "airflow",
        "dask": "distributed",
        "recipes": "temporalio",
    }.items()
    if find_spec(module) is None
]

if find_spec("airflow") is not None:
    os.environ["AIRFLOW_HOME"] = home = tempfile.mkdtemp(prefix="airflow-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    os.environ["AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS"] = "False"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.triggers.base  # noqa: F401 - their own warnings are no failures of ours


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no log line contains the API key; engines keep descriptors of their own."""
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text
