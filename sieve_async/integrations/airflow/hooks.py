"""Hook: the connection of type ``sieve``, and clients made from it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from sieve_async.client import SieveClient
from sieve_async.errors import ConfigError, SieveError
from sieve_async.integrations.leases import ClientSettings, leased_client
from sieve_async.settings import Limits

if TYPE_CHECKING:
    from airflow.sdk import Connection


class SieveHook(BaseHook):
    """Makes clients from a connection of type ``sieve``.

    The password of the connection is the API key, its host the base URL (empty for the public
    service); the extra field may hold ``polls_per_second`` and ``max_connections``.

    Args:
        sieve_conn_id: The id of the connection.
    """

    conn_name_attr = "sieve_conn_id"
    default_conn_name = "sieve_default"
    conn_type = "sieve"
    hook_name = "Sieve"

    def __init__(self, sieve_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.sieve_conn_id = sieve_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the fields of the connection form."""
        return {
            "hidden_fields": ["schema", "login", "port"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {"host": "https://mango.sievedata.com (the default)"},
        }

    def get_conn(self) -> SieveClient:
        """A client of your own; call this outside of an event loop, for it blocks.

        Use it in one: ``async with hook.get_conn() as client``.
        """
        return self.read_settings().make_client()

    def read_settings(self) -> ClientSettings:
        """The settings of the connection; call this outside of an event loop, for it blocks."""
        return _settings(self.get_connection(self.sieve_conn_id))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[SieveClient]:
        """The client of this event loop and connection; its last user closes it."""
        settings = _settings(await self.aget_connection(self.sieve_conn_id))
        async with leased_client(settings) as client:
            yield client

    def test_connection(self) -> tuple[bool, str]:
        """Ask the API for one job with the key of the connection."""
        try:
            asyncio.run(_list_one_job(self.get_conn()))
        except SieveError as error:
            return False, str(error)
        return True, "the API accepted the key"


async def _list_one_job(own_client: SieveClient) -> None:
    async with own_client as client:
        async for _ in client.list_jobs(limit=1):
            return


def _settings(connection: "Connection") -> ClientSettings:
    extra: Mapping[str, Any] = connection.extra_dejson or {}
    limits: dict[str, Any] = {
        name: extra[name]
        for name in ("polls_per_second", "max_connections")
        if extra.get(name) is not None
    }
    if not connection.password:
        raise ConfigError(f"connection {connection.conn_id!r} must have the API key as password")
    host = connection.host or None
    if host is not None and "://" not in host:  # so it comes from a connection URI
        host = f"{connection.schema or 'https'}://{host}"
    if host is not None and connection.port:
        host = f"{host}:{connection.port}"
    return ClientSettings(api_key=connection.password, base_url=host, limits=Limits(**limits))
