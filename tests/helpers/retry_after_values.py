"""Retry-After headers and the seconds that they mean."""

# The server's clock is decades off: only the difference to its own Date counts.
DATE = ("Date", "Mon, 01 Jan 1990 00:00:00 GMT")
ARABIC_FIVE = "\u0665"

# The headers and the seconds that they mean; None if they are ignored.
VALUES: list[tuple[list[tuple[str, str]], float | None]] = [
    ([("Retry-After", value)], seconds)
    for value, seconds in [
        ("1", 1),
        ("5", 5),
        ("  5\t", 5),
        ("0005", 5),
        ("121", 121),
        ("86400", 86400),
        ("9999999999", 9999999999),
        ("0", None),
        ("-0", None),
        ("-5", None),
        ("+5", None),
        ("5.0", 5),
        ("1.5", 2),
        (".5", None),
        ("0.2", 1),
        ("0.0", None),
        ("1e3", None),
        ("0x10", None),
        ("1_0", None),
        ("5s", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("Infinity", None),
        (ARABIC_FIVE, None),
        ("5, 10", None),
        ("5;10", None),
        ("5 10", None),
        ("", None),
        ("soon", None),
        ("9" * 11, None),
        ("9" * 5000, None),
    ]
]
DATES: list[tuple[list[tuple[str, str]], float | None]] = [
    ([DATE, ("Retry-After", value)], seconds)
    for value, seconds in [
        ("Mon, 01 Jan 1990 00:00:07 GMT", 7),
        ("Monday, 01-Jan-90 00:00:07 GMT", 7),
        ("Mon Jan  1 00:00:07 1990", 7),
        ("Mon, 01 Jan 1990 00:00:07", 7),
        ("Tue, 02 Jan 1990 00:00:00 GMT", 86400),
        ("Mon, 01 Jan 1990 00:00:00 GMT", None),
        ("Sun, 31 Dec 1989 23:59:59 GMT", None),
        ("Mon, 01 Jan 1990 00:00:07 PST", None),
        ("Mon, 99 Jan 1990 00:00:07 GMT", None),
        ("Mon, 01 Foo 1990 00:00:07 GMT", None),
        ("Mon, 01 Jan 1990 99:99:99 GMT", None),
        ("1990-01-01T00:00:07Z", None),
    ]
]
SEVERAL: list[tuple[list[tuple[str, str]], float | None]] = [
    ([("Retry-After", "3"), ("Retry-After", "8")], 8),
    ([("Retry-After", "8"), ("retry-after", "3")], 8),
    ([("Retry-After", "nan"), ("Retry-After", "4")], 4),
    ([DATE, ("Retry-After", "4"), ("Retry-After", "Mon, 01 Jan 1990 00:00:09 GMT")], 9),
    ([("Retry-After", "soon"), ("Retry-After", "-1")], None),
]
FORMS = VALUES + DATES + SEVERAL
NAMES = [" and ".join(value[:32] for _, value in headers) for headers, _ in FORMS]
