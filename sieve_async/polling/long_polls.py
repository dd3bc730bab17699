"""Requests that the server holds until a job has ended: how many at once, and whether at all."""

import logging

from sieve_async.errors import APIError, ResponseError, SieveError, TLSError, TransportError

logger = logging.getLogger("sieve_async")

_OFTEN = 3


class LongPolls:
    """The long polls of one client.

    Args:
        slots: How many requests the client may have in flight. Held ones take at most half of
            them, so that lookups go on.
    """

    def __init__(self, slots: int) -> None:
        self.in_flight = 0
        self._most = slots // 2
        self._is_missing = False
        self._has_worked = False
        self._missing = 0

    def take(self) -> bool:
        """Begin one, if there is room and the server knows how."""
        if self._is_missing or self.in_flight >= self._most:
            return False
        self.in_flight += 1
        return True

    def give_back(self) -> None:
        """End one."""
        self.in_flight -= 1

    def note_worked(self) -> None:
        """Take note that the server knows how to hold a request."""
        self._has_worked, self._missing = True, 0

    def note_missing(self) -> None:
        """Take note that the server does not know how to hold a request.

        None is begun from then on; if some have worked before, one server of several may be older.
        """
        self._missing += 1
        if self._is_missing or (self._has_worked and self._missing < _OFTEN):
            return
        self._is_missing = True
        logger.warning("the server has no endpoint to await a job: polling instead")


def means_missing(error: SieveError) -> bool:
    """Whether the answer to a long poll says that there is no such endpoint."""
    return isinstance(error, APIError) and error.status in {405, 501}


def means_unended(error: SieveError) -> bool:
    """Whether the answer to a long poll says that its time was over before the job's."""
    return isinstance(error, APIError) and error.status == 408


def means_cut_off(error: SieveError) -> bool:
    """Whether a long poll ended in between: by a proxy that has less patience, or on the way."""
    match error:
        case TLSError():
            return False
        case APIError(status=status):
            return status >= 500 and status not in {501, 505}
    return isinstance(error, (TransportError, ResponseError))
