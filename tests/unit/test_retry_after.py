"""What ``Retry-After`` asks for: seconds or a date, read strictly."""

import math
from datetime import UTC, datetime, timedelta

from sieve_async.decode.error_responses import retry_after

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


def test_seconds() -> None:
    """A number of up to ten ASCII digits is that many seconds, a fraction rounded up."""
    values = {"1": 1, "0005": 5, "9999999999": 9_999_999_999, " 7\t": 7}
    values |= {"2.7": 3, "5.0": 5, "5.": 5, "0.001": 1}
    for value, seconds in values.items():
        actual = retry_after([value], date=None, now=NOW)
        assert (actual, type(actual)) == (seconds, float)


def test_dates() -> None:
    """Each of the three forms of a date is as far away as it is from the response's own date."""
    forms = [
        "Sun, 06 Nov 1994 08:{}:37 GMT",
        "Sun, 06 Nov 1994 08:{}:37",
        "Sun Nov  6 08:{}:37 1994",
    ]
    forms += ["Sunday, 06-Nov-94 08:{}:37 GMT", "Sunday, 06-Nov-94 08:{}:37"]
    for form in forms:
        value, sent = form.format(50), form.format(49)
        assert retry_after([value], date=sent, now=NOW - timedelta(days=365)) == 60
        for no_date in (None, "", "no date"):
            assert retry_after([f"\t{value} "], date=no_date, now=NOW) == 60
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"):
        for value in (f"{day}, 06-Nov-94 08:50:37 GMT", f"{day[:3]}, 06 Nov 1994 08:50:37 GMT"):
            assert retry_after([value], date=DATE, now=NOW) == 60


NOTHING = [
    *("", " ", "0", "0000000000", "-5", "+5", "0.0", ".5", "1.2.3", "1e3", "0x10", "1_0", "1 0"),
    *("5s", "5, 10", "00000000005", "99999999999", "NaN", "inf", "None", "\u0665", "\uff15"),
    *("5\u00a0", "5\n", "\x0b5", "soon", "1994-11-06T08:50:37Z", "06 Nov 1994 08:50:37 GMT"),
    *("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1893 08:50:37 GMT"),
    *("Sun, 06 Nov 1994 08:50:37 UTC", "Sun, 06 Nov 1994 08:50:37 +0000"),
    *("Sun, 06 Nov 1994 08:50:37 gmt", "sun, 06 nov 1994 08:50:37 GMT"),
    *("Sun, 6 Nov 1994 08:50:37 GMT", "Sun, 31 Feb 1994 08:50:37 GMT"),
    *("Sun, 06 Foo 1994 08:50:37 GMT", "Sun, 06 Nov 1994 25:50:37 GMT"),
    *("Sun, 06 Nov 1994 :::::::: GMT", "Sun, 06 Nov 1994 12345678 GMT"),
    *("Sun, 06 Nov 1994 8:50:37 GMT", "Sun, 06 Nov 1994 8:50:037 GMT"),
    *("Sun Nov  6 008:50:9 1994", "Sun, 06 Nov 0099 08:50:37 GMT", "Sun Nov  6 08:50:37 0000"),
    *("Day, 06 Nov 1994 08:50:37 GMT", "Yesterday, 06-Nov-94 08:50:37 GMT"),
    *("Sun, 06 Nov 1994 08:50:37 GMT, 5", "Sun, \u0660\u0666 Nov 1994 08:50:37 GMT"),
]


def test_what_asks_for_nothing() -> None:
    """What is neither a number nor a date, or is not in the future, asks for nothing."""
    assert [value for value in NOTHING if retry_after([value], date=DATE, now=NOW)] == []


def test_several_headers() -> None:
    """Of several headers the longest valid one counts."""
    later = "Sun, 06 Nov 1994 08:49:57 GMT"
    values: list[tuple[list[str], float | None]] = [
        *(([], None), (["5", "10"], 10), (["10", "5"], 10), (["10", "no", "99999999999"], 10)),
        *((["no", "0"], None), (["5", later], 20), (["30", later], 30)),
    ]
    for headers, seconds in values:
        assert retry_after(headers, date=DATE, now=NOW) == seconds


def test_far_dates() -> None:
    """Dates at the ends of the calendar cost no exception, and ask for a finite time."""
    last, none = "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0000 00:00:00 GMT"
    seconds = retry_after([last], date="Mon, 01 Jan 0001 00:00:00 GMT", now=NOW)
    assert seconds is not None
    assert math.isfinite(seconds)
    assert retry_after([last], date=None, now=datetime.min.replace(tzinfo=UTC))
    assert retry_after([none], date=none, now=NOW) is None
