"""A poll whose kept connection had been closed, as the state machine takes it."""

from sieve_async import ConnectError, PollPolicy
from sieve_async.polling import AskAgain, TimedOut, Wait


def test_dropped_poll() -> None:
    """It is asked again at once and counts for no failure, but it is the last error there was."""
    error = ConnectError("the connection broke", "GET", "/", reused_connection=True)
    wait = Wait(PollPolicy(), 0.0, 10.0)

    assert wait.dropped(error, 5.0) == AskAgain(5.0)
    assert (wait.polls, wait.failures, wait.last_error) == (1, 0, error)
    assert wait.dropped(error, 10.0) == TimedOut(10.0)
