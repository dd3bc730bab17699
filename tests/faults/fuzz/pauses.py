"""Any headers as what a server asks to wait."""

import math
from datetime import UTC, datetime, timedelta

from faults.fuzz.draws import Draws
from sieve_async.decode.retry_after import retry_after

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_NOW = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
_PARTS = (
    *("Sun, ", "Sunday, ", "Sun ", "Nov ", "Nov  6 ", "06 Nov ", "06-Nov-94 ", "1994 ", " 1994"),
    *("08:49:38", "24:00:00", "23:59:60", "8:49:037", " GMT", " UTC", " +0000", " ", "\t", "\xa0"),
    *(
        "0",
        "1",
        "5",
        "9999999999",
        "-",
        "+",
        ".",
        "e3",
        "nan",
        "inf",
        ",",
        "\u0665",
        "9999",
        "0001",
    ),
)


def target(data: bytes) -> None:
    """A pause is what the longest header that makes sense says, and never less."""
    draws = Draws(data)
    date = _text(draws) if draws.number(2) else None
    values = [_text(draws) for _ in range(draws.number(4))]
    asked = retry_after(values, date=date, now=_NOW)
    sent_at = _date(date or "") or _NOW
    expected = [seconds for value in values if (seconds := _seconds(value, sent_at)) > 0]
    assert asked == max(expected, default=None)
    if asked is None:
        return
    assert type(asked) is float
    assert math.isfinite(asked)
    assert 0 < asked < 1e12


def _text(draws: Draws) -> str:
    match draws.number(4):
        case 0:
            return draws.piece().decode("latin-1")
        case 1:
            return "".join(draws.choice(_PARTS) for _ in range(draws.number(9)))
    moment = _NOW + timedelta(seconds=draws.number(65_536) - 30_000)
    text = _written(moment, draws.number(3))
    if draws.number(2):  # one character is another
        place = draws.number(len(text))
        text = text[:place] + draws.choice("0195:- ,GaA\u0665") + text[place + 1 :]
    return text


def _written(moment: datetime, form: int) -> str:
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    clock = f"{moment:%H:%M:%S}"
    if form == 0:
        return f"{day[:3]}, {moment.day:02} {month} {moment.year:04} {clock} GMT"
    if form == 1:
        return f"{day}, {moment.day:02}-{month}-{moment.year % 100:02} {clock} GMT"
    return f"{day[:3]} {month} {moment.day:2} {clock} {moment.year:04}"


def _seconds(value: str, sent_at: datetime) -> float:
    value = value.strip(" \t")
    if value.isascii() and value.isdigit() and len(value) <= 10:
        return float(value)
    until = _date(value)
    return 0.0 if until is None else (until - sent_at).total_seconds()


def _date(value: str) -> datetime | None:
    """The time that a date names, word for word; whether the day has that name is not asked."""
    is_asctime, of_two_digits = "," not in value, value.count("-") == 2
    words = _words(value)
    if len(words) != 5 or not value.isascii():
        return None
    if is_asctime:
        name, month, day, clock, year = words
    else:
        name, day, month, year, clock = words
    names = [f"{one}," for one in _DAYS] if of_two_digits else [one[:3] for one in _DAYS]
    if not (is_asctime or of_two_digits):
        names = [f"{one}," for one in names]
    numbers = (year, day, *clock.split(":"))
    lengths = [len(number) for number in numbers]
    if lengths != [2 if of_two_digits else 4, 2, 2, 2, 2] or not "".join(numbers).isdecimal():
        return None
    if name not in names or month not in _MONTHS or year.startswith("0") > of_two_digits:
        return None
    century = 0 if not of_two_digits else 2000 if int(year) <= 68 else 1900
    day_, hour, minute, second = map(int, numbers[1:])
    try:
        month_ = _MONTHS.index(month) + 1
        return datetime(century + int(year), month_, day_, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _words(value: str) -> list[str]:
    """Name, day, month, year and clock, in whichever order."""
    if "," not in value:
        words = value.split(" ")
        if len(words) == 6 and words[2] == "" and len(words[3]) == 1:  # a day of one digit
            words[2:4] = [f"0{words[3]}"]
        return words
    words = value.removesuffix(" GMT").split(" ")
    if len(words) == 3:
        words[1:2] = words[1].split("-")
    return words
