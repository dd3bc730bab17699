"""What users import: all of it from ``sieve_async``, and nothing more than is documented."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import sieve_async
from sieve_async import config, errors, models


def test_names_are_importable() -> None:
    members = {
        name
        for name in dir(sieve_async)
        if not isinstance(getattr(sieve_async, name), ModuleType) and not name.startswith("_")
    } - {"TYPE_CHECKING"}
    assert sieve_async.__all__ == sorted(members | {"__version__"})
    assert not hasattr(sieve_async, "SieveClients")
    for module in (errors, models):
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == module.__name__ and name[0] != "_":
                assert getattr(sieve_async, name) is value
                assert value.__doc__


def test_version() -> None:
    """The version is that of the distribution, which tells type checkers that it has types."""
    assert sieve_async.__version__ == config.__version__ == version("sieve-async")
    assert Path(sieve_async.__file__).with_name("py.typed").is_file()


PROGRAM = """
import sys
import sieve_async
print(sorted(sys.modules))
from sieve_async import SieveClient
print(sorted(sys.modules))
[getattr(sieve_async, name) for name in sieve_async.__all__]
print(sorted(sys.modules))
"""


def test_imports_are_cheap() -> None:
    """The package loads nothing slow before it is used; its names load no engine and no extra."""
    run = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    package, client, everything = (set(ast.literal_eval(line)) for line in run.stdout.splitlines())
    assert package.isdisjoint({"aiohttp", "asyncio", "attrs", "sieve_async.client"})
    assert "sieve_async.client" in client
    assert client.isdisjoint({"pytest", "rich", "sieve_async.cli", "sieve_async.testing"})
    engines = ("airflow", "distributed", "dask", "opentelemetry", "sieve_async.integrations")
    assert [name for name in everything if name.startswith(engines)] == []
