"""Airflow provider: hook, operator, sensors and triggers.

The names are loaded when they are first used: Airflow reads :func:`get_provider_info` while it
starts, before its own modules can be imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

from sieve_async.integrations.shards import shard

if TYPE_CHECKING:
    from sieve_async.integrations.airflow.hooks import SieveHook
    from sieve_async.integrations.airflow.operators import SievePushOperator
    from sieve_async.integrations.airflow.sensors import SieveJobSensor, SieveVersionSensor
    from sieve_async.integrations.airflow.triggers import SieveJobTrigger, SieveVersionTrigger

__all__ = [
    "SieveHook",
    "SieveJobSensor",
    "SieveJobTrigger",
    "SievePushOperator",
    "SieveVersionSensor",
    "SieveVersionTrigger",
    "get_provider_info",
    "shard",
]

_PACKAGE = "sieve_async.integrations.airflow"
_MODULES = {
    "SieveHook": f"{_PACKAGE}.hooks",
    "SieveJobSensor": f"{_PACKAGE}.sensors",
    "SieveJobTrigger": f"{_PACKAGE}.triggers",
    "SievePushOperator": f"{_PACKAGE}.operators",
    "SieveVersionSensor": f"{_PACKAGE}.sensors",
    "SieveVersionTrigger": f"{_PACKAGE}.triggers",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)
    value: object = getattr(importlib.import_module(module), name)
    return value


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow (entry point ``apache_airflow_provider``)."""
    number = {"type": ["number", "null"]}
    return {
        "package-name": "sieve-async",
        "name": "Sieve",
        "description": "Push jobs to [Sieve](https://docs.sievedata.com) and wait for them.",
        "integrations": [
            {
                "integration-name": "Sieve",
                "external-doc-url": "https://docs.sievedata.com",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Sieve", "python-modules": [f"{_PACKAGE}.hooks"]}],
        "operators": [{"integration-name": "Sieve", "python-modules": [f"{_PACKAGE}.operators"]}],
        "sensors": [{"integration-name": "Sieve", "python-modules": [f"{_PACKAGE}.sensors"]}],
        "triggers": [{"integration-name": "Sieve", "python-modules": [f"{_PACKAGE}.triggers"]}],
        "connection-types": [
            {
                "hook-class-name": f"{_PACKAGE}.hooks.SieveHook",
                "hook-name": "Sieve",
                "connection-type": "sieve",
                "conn-fields": {
                    "polls_per_second": {"label": "Polls per second", "schema": number},
                    "max_connections": {"label": "Connections at once", "schema": number},
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {"host": "https://mango.sievedata.com (the default)"},
                },
            }
        ],
    }
