"""What a test says to the server: what goes wrong."""

from collections.abc import Mapping

from sieve_async.testing.documents import raw_fields
from sieve_async.testing.faults import Body, Drop, Effect, Fault, Faults, body_bytes, check_effect
from sieve_async.testing.home import Home, at_home


class Breaking:
    """The part of a server that tests make trouble with."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._faults = Faults()
        self._key_is_revoked = False

    @at_home
    def fault(  # noqa: PLR0913  # much can go wrong, and each is a keyword
        self,
        *,
        path: str | None = None,
        job: str | None = None,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        retry_after: float | None = None,
        as_date: bool = False,
        delay: float = 0.0,
        drop: Drop | None = None,
        truncate: bool = False,
        slow_body: float = 0.0,
        fields: Mapping[str, object] | None = None,
    ) -> Fault:
        """Let something go wrong with requests from now on.

        All that is asked for happens to each request that meets it. When a request meets several
        faults, all have their effect, except that only the oldest one answers: with two that
        have a status, the second begins when the first is used up. One that is answered by a
        fault is no look at a job.

        Args:
            path: Meet only requests of this path; ``*`` stands for any part of it.
            job: Meet only lookups and awaits of this job.
            times: Be used up after so many requests; None is never.
            probability: Meet so large a share of the requests, chosen by ``seed``.
            seed: Which requests are met, when not all are.
            status: Answer with this status, and a body that fits it. A revoked key is 401, a
                redirect 307 with ``headers={"Location": ...}``.
            headers: Headers to add, or to set.
            body: Answer with this body: text and bytes as they are, anything else as JSON.
            retry_after: Ask to wait so many seconds, rounded up.
            as_date: Ask so by naming the time, and not the seconds.
            delay: How many seconds of the server's clock nothing happens at first.
            drop: Close the connection ``"before"`` the headers, amid the ``"headers"``, or amid
                the ``"body"``.
            truncate: Send only half of the body, as if it were all.
            slow_body: How many seconds the body takes, which comes in pieces.
            fields: Members to add or replace in each job or version that is shown, whatever they
                are: wrong types, unknown words.

        Returns:
            The fault, which counts its ``hits`` and can be removed.

        Raises:
            ValueError: It would never be met or do nothing, or a value means nothing.
        """
        effect = Effect(
            status=status,
            headers=dict(headers or {}),
            body=body_bytes(body),
            retry_after=retry_after,
            as_date=as_date,
            delay=delay,
            drop=drop,
            truncate=truncate,
            slow_body=slow_body,
            fields=raw_fields(fields),
        )
        check_effect(effect)
        fault = Fault(
            effect=effect, path=path, job=job, times=times, probability=probability, seed=seed
        )
        self._faults.add(fault)
        return fault

    @at_home
    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()

    @at_home
    def revoke_key(self) -> None:
        """Refuse the right key as well from now on."""
        self._key_is_revoked = True
