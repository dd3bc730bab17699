"""Responses: what is read from them for a person is redacted and short."""

from sieve_async.messages import Response


def test_responses() -> None:
    """Whatever is read from an answer for a person is masked; the body itself is as it came."""
    headers = ((b"X-Echo", b"the key"), (b"x-ECHO", b"\xe9"), (b"Other", b"x"))
    response = Response(200, headers, b"key \xff key", lambda text: text.replace("key", "***"))

    assert response.header("x-echo") == ["the ***", "\xe9"]
    assert response.header("absent") == []
    assert response.text() == "*** \ufffd ***"
    assert response.excerpt() == "*** \ufffd ***"
    assert response.body == b"key \xff key"
    assert "key" not in repr(response)


def test_excerpts_of_long_answers() -> None:
    """A key or a URL's query at the end of an excerpt is masked before anything is cut off."""
    body = b"x" * 289 + b" secret-key https://a.example/?" + b"s" * 100_000
    response = Response(200, (), body, lambda text: text.replace("secret-key", "***"))

    assert response.excerpt() == "x" * 289 + " *** htt" + "..."
