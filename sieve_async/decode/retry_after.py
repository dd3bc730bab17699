"""What a ``Retry-After`` header asks for (RFC 9110, section 10.2.3), read strictly.

A value that makes no sense asks for nothing: the caller then backs off as it would have anyway.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,10}")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_CLOCK = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_YEAR = "[1-9][0-9]{3}"
# The three forms of RFC 9110, section 5.6.7; without a zone it is GMT all the same.
_DATE = re.compile(
    rf"{_DAY}, [0-9]{{2}} [A-Z][a-z]{{2}} {_YEAR} {_CLOCK}(?: GMT)?"
    rf"|{_LONG_DAY}, [0-9]{{2}}-[A-Z][a-z]{{2}}-[0-9]{{2}} {_CLOCK}(?: GMT)?"
    rf"|{_DAY} [A-Z][a-z]{{2}} [ 0-9][0-9] {_CLOCK} {_YEAR}"
)


def retry_after(values: Iterable[str], *, date: str | None, now: datetime) -> float | None:
    """Seconds that the server asks us to wait; None when it does not ask.

    Args:
        values: All ``Retry-After`` headers of the answer; the longest valid one counts.
        date: Its ``Date`` header: a date is an offset on the server's clock, not on ours.
        now: The wall clock, for an answer without a ``Date``.
    """
    sent_at = _date(date or "") or now
    asked = [seconds for value in values if (seconds := _read(value, sent_at)) > 0]
    return max(asked, default=None)


def _read(value: str, sent_at: datetime) -> float:
    value = value.strip(" \t")
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _date(value)
    return 0.0 if until is None else (until - sent_at).total_seconds()


def _date(value: str) -> datetime | None:
    if not _DATE.fullmatch(value):
        return None
    try:
        return parsedate_to_datetime(value.removesuffix(" GMT") + " GMT").replace(tzinfo=UTC)
    except ValueError:
        return None
