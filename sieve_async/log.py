"""Logging of the package: the logger ``sieve_async``, and a switch for programs without logging."""

import logging
from collections.abc import Mapping

from sieve_async.errors import ConfigError

_LEVELS = ("debug", "info", "warning", "error")

logger = logging.getLogger("sieve_async")


def configure_logging(level: str) -> None:
    """Write the log of the package to standard error, from this level on.

    Raises:
        ConfigError: There is no such level.
    """
    if level.lower() not in _LEVELS:
        raise ConfigError(f"SIEVE_LOG must be one of {', '.join(_LEVELS)}, got {level[:60]!a}")
    logger.setLevel(level.upper())
    if not any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def configure_logging_from(environment: Mapping[str, str]) -> None:
    """The same as the variable ``SIEVE_LOG`` says; nothing when it is not set.

    Raises:
        ConfigError: It names no level.
    """
    if level := environment.get("SIEVE_LOG"):
        configure_logging(level)
