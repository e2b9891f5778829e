"""The connection to one Prefect server: credentials, retries, and adaptive concurrency.

A session sends one request per thread at a time and may be used by many threads. It retries where
that is safe, and raises `LostResponse` where it can't know whether a request was carried out.
Reads and writes have separate concurrency limits: SQLite reads in parallel and serialises writes.
"""

from __future__ import annotations

import base64
import copy
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from deployctl import __version__
from deployctl.api.calls import Request
from deployctl.api.concurrency import ConcurrencyLimiter
from deployctl.api.csrf import CsrfToken
from deployctl.api.errors import lost_response_error, response_error, unreachable_error
from deployctl.api.outage import Outage
from deployctl.api.retry_policy import RetryDecision, classify, retry_after, under_maintenance
from deployctl.api.settings import Settings
from deployctl.clients.http import (
    HttpClient,
    HttpOptions,
    NoResponse,
    NotSerializable,
    Response,
)
from deployctl.core.cancellation import CancellationToken
from deployctl.core.clock import ServerClock
from deployctl.core.errors import ApiError, Rejected, Unreachable
from deployctl.core.json_values import Json
from deployctl.core.progress import NullProgress, Progress
from deployctl.core.retry import Backoff

API_VERSION = "0.8.4"
"""The version of Prefect's REST API that deployctl speaks; servers from 2.16 to 3.8 accept it."""

_OWN_HEADERS = frozenset({"user-agent", "prefect-csrf-token", "prefect-csrf-client"})
_INITIAL_WRITES = 2
"""Initial limit of concurrent writes: two keep the server busy. Workers start with one, because
claims and heartbeats are the writes that were seen to block SQLite."""
_MAINTENANCE_WAIT = 5.0
_MAX_TOKEN_RENEWALS = 2
_OUTAGE_FACTOR = 1.3
"""The retry budget of the server, in units of what one request waits at most."""

_READ = re.compile(r"/(filter|count|paginate)$")


class Session:
    """Sends requests to the server of `settings`. Close it, or use it in a `with` statement."""

    def __init__(
        self,
        settings: Settings,
        *,
        concurrency: int = 16,
        progress: Progress | None = None,
        cancellation: CancellationToken | None = None,
        wait: Callable[[float], bool] | None = None,
        server_clock: ServerClock | None = None,
        writes: ConcurrencyLimiter | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        network: Callable[[HttpOptions], HttpClient] = HttpClient,
        on_error: Callable[[int | None], object] = lambda _status: None,
    ) -> None:
        """Opens no connection. Raises SettingsError if no server is set.

        `cancellation` ends waits and refuses new requests. `server_clock` is updated by every
        response and `writes` limits concurrent writes; sessions of one server may share both.
        `wait`, `clock`, `rng` and `network` replace sleep, time, randomness and the HTTP client in
        tests. `on_error` is called after each failed attempt with the status of the response, None
        if there was none.
        """
        self.settings = settings
        self.concurrency = concurrency
        self.cancellation = CancellationToken() if cancellation is None else cancellation
        self._progress = progress or NullProgress()
        self._wait = wait or self.cancellation.wait
        self._clock = clock
        self._rng = rng or random.Random()
        self._on_error = on_error
        self._http = network(
            HttpOptions(
                settings.server_url(),
                headers(settings),
                timeout=settings.request_timeout,
                ca_file=settings.ssl_cert_file,
                verify=not settings.tls_insecure_skip_verify,
                http2=settings.enable_http2,
                limit=concurrency,
            )
        )
        csrf = settings.csrf_support and not settings.is_cloud
        self._csrf = CsrfToken(csrf, lambda request: self.send(request, finish=True))
        self._reads = ConcurrencyLimiter(concurrency, concurrency)
        self._writes = (
            ConcurrencyLimiter(_INITIAL_WRITES, concurrency) if writes is None else writes
        )
        self._has_responded = False
        self._outage = Outage(_outage_budget(settings), clock)
        self._is_prefect = False
        """Whether the server has behaved like a Prefect API."""
        self.server_clock = server_clock or ServerClock()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def scoped(
        self, cancellation: CancellationToken, wait: Callable[[float], bool] | None = None
    ) -> Session:
        """Returns a session with its own cancellation that shares the connections and limits of
        this one, and is closed with it. `wait` replaces sleep."""
        session = copy.copy(self)
        session.cancellation = cancellation
        session._wait = wait or cancellation.wait
        return session

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    @property
    def is_down(self) -> bool:
        """Whether the server is taken for dead, so that no further work should be started."""
        return self._outage.is_down

    def give_up(self) -> ApiError:
        """Takes the server for dead; returns the error of requests that are not waited for."""
        silence = NoResponse("no response until the command was stopped", sent=True)
        self._outage.record_silence(silence.reason)
        return unreachable_error(silence, self.settings, was_sent=True)

    def send(self, request: Request, *, finish: bool = False) -> Json:
        """Sends a request, retries where that is safe, and returns the body of the response.

        `finish`: send it although the session is cancelled, because it completes a started change.

        Raises Interrupted when the session is cancelled; LostResponse when a request that is not
        idempotent may have been carried out; otherwise the ApiError that fits.
        """
        if not finish:
            self.cancellation.raise_if_cancelled()
        waits = _RetryWaits(self.settings, self._rng, self.server_clock)
        renewals, was_sent = 0, False
        while True:
            token = {} if request.method == "GET" else self._csrf.headers()
            result, crowded = self._attempt(request, token)
            was_sent = was_sent or (isinstance(result, NoResponse) and result.sent)
            decision = classify(request, result, self.settings.retry_extra_codes)
            if isinstance(result, Response) and decision is RetryDecision.DONE:
                self._is_prefect = self._is_prefect or result.status < 400
                return result.body if result.status < 400 else None
            if (
                decision is RetryDecision.RENEW_TOKEN
                and renewals < _MAX_TOKEN_RENEWALS
                and self._csrf.renew(token)
            ):
                renewals += 1
                continue
            seconds = None
            if decision in (RetryDecision.OVERLOADED, RetryDecision.RETRY):
                seconds = waits.next(result, responded=self._has_responded, crowded=crowded)
            if not self._outage.allows(seconds) or seconds is None:
                raise self._error(request, result, decision, was_sent) from _cause(result)
            self._pause(result, seconds)

    def wait_for_api(self, seconds: float) -> None:
        """Waits until the server reports that it is healthy.

        Raises Unreachable after `seconds`, or at once where waiting cannot help (a certificate that
        is not trusted); Interrupted when the session is cancelled.
        """
        end = self._clock() + seconds
        probe = Request("GET", "/health")
        self._progress.phase(f"waiting for {self.settings.display_url}")
        while True:
            self.cancellation.raise_if_cancelled()
            result, _ = self._attempt(probe, {})
            if isinstance(result, Response) and result.status == 200 and not result.is_html:
                return
            if classify(probe, result) is RetryDecision.ERROR and isinstance(result, NoResponse):
                raise unreachable_error(result, self.settings) from result
            if self._clock() >= end:
                raise self._not_healthy(result) from _cause(result)
            self._wait(min(1.0, max(0.05, end - self._clock())))

    def _attempt(
        self, request: Request, token: Mapping[str, str]
    ) -> tuple[Response | NoResponse, bool]:
        """Sends a request once; also returns whether our own concurrency caused a refusal.

        It is not sent if the server is taken for dead by the time that a slot is free.
        """
        limiter = self._reads if _is_read(request) else self._writes
        with limiter.slot(lambda: self._wait(0.0)) as generation:
            if reason := self._outage.refusal():
                return NoResponse(reason, sent=False), False
            began, timeout = self._clock(), self._outage.timeout()
            try:
                result = self._http.send(
                    request.method, request.path, request.body, token, timeout=timeout
                )
            except NoResponse as error:
                self._on_error(None)
                self._outage.record_failure(began, error.reason)
                if error.sent:
                    limiter.record_refusal(generation)
                return error, False
            except NotSerializable as error:
                subject = request.subject or request.path
                message = f"{subject}: contains a value that JSON cannot represent"
                raise Rejected(message) from error
        if result.status >= 400:
            self._on_error(result.status)
        self._has_responded = True
        self.server_clock.observe(result.headers.get("date", ""))
        crowded = False
        if classify(request, result) is RetryDecision.OVERLOADED:
            crowded = limiter.record_refusal(generation)
        else:
            limiter.record_success()
        # Who asks to wait, or refuses only our concurrency, works.
        works = result.status < 500 or crowded or "retry-after" in result.headers
        if works or under_maintenance(result):
            self._outage.record_answer()
        else:
            self._outage.record_failure(began, f"status {result.status}")
        return result, crowded

    def _pause(self, result: Response | NoResponse, seconds: float) -> None:
        """Waits before a retry, and reports the reason of a wait of a second or more.

        Raises Interrupted when the session is cancelled.
        """
        if isinstance(result, NoResponse):
            reason = result.reason
        else:
            reason = "under maintenance" if under_maintenance(result) else f"status {result.status}"
        if seconds >= 1 and self._outage.may_report(seconds):
            text = f"{self.settings.display_url}: {reason}; retrying in {seconds:.0f} s"
            self._progress.output("server", text)
        if self.cancellation.is_cancelled or self._wait(seconds):
            raise self.cancellation.interrupted()

    def _error(
        self,
        request: Request,
        result: Response | NoResponse,
        decision: RetryDecision,
        was_sent: bool,
    ) -> ApiError:
        if decision is RetryDecision.LOST:
            return lost_response_error(request, result, self.settings)
        if isinstance(result, NoResponse):
            return unreachable_error(result, self.settings, was_sent=was_sent)
        return response_error(request, result, self.settings, is_prefect=self._is_prefect)

    def _not_healthy(self, result: Response | NoResponse) -> ApiError:
        if isinstance(result, NoResponse):
            return unreachable_error(result, self.settings)
        return Unreachable(
            f"the server at '{self.settings.display_url}' is not healthy (status {result.status})",
            status=result.status,
        )


def headers(settings: Settings) -> dict[str, str]:
    """The headers of every request.

    As in Prefect, the auth string wins over the API key, and custom headers win over both. They
    cannot replace the user agent.
    """
    result = {
        "Accept": "application/json",
        "User-Agent": f"deployctl/{__version__}",
        "X-PREFECT-API-VERSION": API_VERSION,
    }
    if settings.auth_string:
        encoded = base64.b64encode(settings.auth_string.encode()).decode()
        result["Authorization"] = f"Basic {encoded}"
    elif settings.api_key:
        result["Authorization"] = f"Bearer {settings.api_key}"
    for name, value in settings.custom_headers.items():
        if name.lower() not in _OWN_HEADERS:
            result = {key: old for key, old in result.items() if key.lower() != name.lower()}
            result[name] = value
    return result


def _outage_budget(settings: Settings) -> float:
    """Seconds after which no request waits any longer: 40 with the default of five retries."""
    backoff = _disconnected(settings)
    retries = range(settings.max_retries)
    return _OUTAGE_FACTOR * sum(backoff.nominal_wait(failures) for failures in retries)


def _disconnected(settings: Settings) -> Backoff:
    """The waits for a server that has answered before."""
    jitter = min(1.0, settings.retry_jitter_factor)
    return Backoff(settings.max_retries + 1, first=1.0, jitter=jitter)


class _RetryWaits:
    """The waits of one request before each further attempt."""

    def __init__(self, settings: Settings, rng: random.Random, now: Callable[[], float]) -> None:
        self._rng = rng
        self._now = now
        self._jitter = settings.retry_jitter_factor
        tries, jitter = settings.max_retries + 1, min(1.0, self._jitter)
        self._server_error = Backoff(tries, jitter=jitter).waits(rng)
        self._disconnected = _disconnected(settings).waits(rng)
        self._never_reached = Backoff(min(3, tries), first=0.3).waits(rng)
        self._was_cut_off = False

    def next(
        self, result: Response | NoResponse, *, responded: bool, crowded: bool
    ) -> float | None:
        """Returns the seconds to wait before the next attempt, or None to give up.

        `responded`: whether the server has ever responded in this process. If not, it is given up
        within seconds, because its address is probably wrong. Maintenance, and refusals caused by
        our own concurrency (`crowded`), don't count as attempts.
        """
        now = datetime.fromtimestamp(self._now(), UTC)
        requested = retry_after(result, now) if isinstance(result, Response) else None
        if requested is not None:
            requested *= self._rng.uniform(1, 1 + self._jitter)
        if isinstance(result, Response) and under_maintenance(result):
            return _MAINTENANCE_WAIT if requested is None else requested
        if crowded:
            return requested if requested is not None else self._rng.uniform(0.01, 0.1)
        if isinstance(result, NoResponse) and result.cut_off and not self._was_cut_off:
            # The server has most likely closed an idle connection just when it was used again.
            self._was_cut_off = True
            return 0.0
        wait = next(self._waits(result, responded), None)
        return wait if wait is None or requested is None else requested

    def _waits(self, result: Response | NoResponse, responded: bool) -> Iterator[float]:
        if isinstance(result, Response):
            return self._server_error
        return self._disconnected if responded else self._never_reached


def _is_read(request: Request) -> bool:
    return request.method == "GET" or bool(_READ.search(request.path))


def _cause(result: Response | NoResponse) -> NoResponse | None:
    return result if isinstance(result, NoResponse) else None
