"""What ``Retry-After`` asks for: seconds or a date, read strictly."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sieve_async.decode.error_responses import retry_after

NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
STEADY = settings(derandomize=True, deadline=None, max_examples=60)


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


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        (["5", "10"], 10),
        (["10", "5"], 10),
        (["10", "no", "99999999999"], 10),
        (["no", "0"], None),
        (["5", "Sun, 06 Nov 1994 08:49:57 GMT"], 20),
        (["30", "Sun, 06 Nov 1994 08:49:57 GMT"], 30),
    ],
)
def test_several_headers(values: list[str], seconds: float | None) -> None:
    """Of several headers the longest valid one counts."""
    assert retry_after(values, date=DATE, now=NOW) == seconds


DATES = st.from_regex(
    r"(?:[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8}( GMT)?"
    r"|[A-Z][a-z]{5,8}, [0-9]{2}-(Jan|Feb|Dec)-[0-9]{2} [0-9:]{8}"
    r"|[A-Z][a-z]{2} (Jan|Feb|Dec) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4})",
    fullmatch=True,
)
HEADERS = st.text(max_size=12) | DATES | st.integers().map(str) | st.floats().map(str)


@STEADY
@given(st.lists(HEADERS, max_size=3), st.none() | HEADERS, st.datetimes(timezones=st.just(UTC)))
@example(["Fri, 31 Dec 9999 23:59:59 GMT"], "Mon, 01 Jan 0001 00:00:00 GMT", NOW)
@example(["Fri, 31 Dec 9999 23:59:59 GMT"], None, datetime.min.replace(tzinfo=UTC))
@example(["Mon, 01 Jan 0000 00:00:00 GMT"], "Mon, 01 Jan 0000 00:00:00 GMT", NOW)
def test_any_header(values: list[str], date: str | None, now: datetime) -> None:
    """Whatever the headers are, the result is None or a finite number of seconds above zero."""
    seconds = retry_after(values, date=date, now=now)
    assert seconds is None or (math.isfinite(seconds) and seconds > 0)
    assert seconds is None or isinstance(seconds, float)


@STEADY
@given(st.integers(1, 10**7), st.datetimes(datetime(1970, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 - hypothesis wants them naive
def test_any_date(seconds: int, sent_at: datetime) -> None:
    """A date asks for exactly the seconds from the answer's date to it, whatever our clock says."""
    until = sent_at + timedelta(seconds=seconds)
    form = "%a, %d %b %Y %H:%M:%S GMT"
    asked = retry_after([until.strftime(form)], date=sent_at.strftime(form), now=NOW)
    assert asked == seconds
