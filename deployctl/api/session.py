"""The way to one Prefect server: credentials, patience, and how much at once.

A session sends one request at a time per thread and may be used by many threads. It waits and
tries again where that is safe, and says what it could not find out where it is not. What a server
bears is learnt while sending (`gate`), for reads and for writes apart: SQLite reads in parallel and
writes one by one.
"""

from __future__ import annotations

import base64
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from deployctl import __version__
from deployctl.api.calls import Request
from deployctl.api.concurrency import ConcurrencyLimiter
from deployctl.api.csrf import Csrf
from deployctl.api.errors import lost_response_error, response_error, unreachable_error
from deployctl.api.retry_policy import RetryDecision, classify, retry_after, under_maintenance
from deployctl.api.settings import Settings
from deployctl.clients.http import (
    ConnectionOptions,
    HttpClient,
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
"""The version of the REST API that is spoken; servers from 2.16 to 3.8 take it."""

_OWN_HEADERS = frozenset({"user-agent", "prefect-csrf-token", "prefect-csrf-client"})
_FIRST_WRITES = 2
"""At once at first: so the server always has something to do. Workers begin with one, since claims
and heartbeats are the writes that were seen to stop SQLite."""
_MAINTENANCE_WAIT = 5.0
_TOKENS = 2

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
        draw: random.Random | None = None,
        network: Callable[[ConnectionOptions], HttpClient] = HttpClient,
    ) -> None:
        """Connects to nothing yet; raises SettingsError where no server is set.

        `cancellation` ends waits and begins nothing new; `server_clock` is set by every answer, and
        `writes` lets writes through: sessions with the same server may share both; `wait`, `clock`
        and `draw` are time and chance, and `network` opens the way to the server: all for tests.
        """
        self.settings = settings
        self.concurrency = concurrency
        self.cancellation = CancellationToken() if cancellation is None else cancellation
        self._progress = progress or NullProgress()
        self._wait = wait or self.cancellation.wait
        self._clock = clock
        self._draw = draw or random.Random()
        connection = ConnectionOptions(
            settings.server_url(),
            headers(settings),
            timeout=settings.request_timeout,
            ca_file=settings.ssl_cert_file,
            verify=not settings.tls_insecure_skip_verify,
            http2=settings.enable_http2,
            limit=concurrency,
        )
        self._http = network(connection)
        csrf = settings.csrf_support and not settings.is_cloud
        self._csrf = Csrf(csrf, lambda request: self.send(request, finish=True))
        self._reads = ConcurrencyLimiter(concurrency, concurrency)
        self._writes = ConcurrencyLimiter(_FIRST_WRITES, concurrency) if writes is None else writes
        self._reached = False
        self._greeted = False
        self.server_clock = server_clock or ServerClock()
        """The time by the server's clock, as far as its answers have told."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def send(self, request: Request, *, finish: bool = False) -> Json:
        """Sends a request until it is answered, and gives the answer's body.

        `finish`: send it although a stop was asked for, because it completes what is half done.

        Raises Interrupted when a stop was asked for; LostResponse when the request must not be
        repeated and nobody knows what became of it; else the ApiError that fits.
        """
        if not finish:
            self.cancellation.raise_if_cancelled()
        waits = _Waits(self.settings, self._draw, self.server_clock)
        tokens = 0
        while True:
            token = {} if request.method == "GET" else self._csrf.headers()
            result, crowded = self._attempt(request, token)
            verdict = classify(request, result, self.settings.retry_extra_codes)
            if isinstance(result, Response) and verdict is RetryDecision.DONE:
                self._greeted = self._greeted or result.status < 400
                return result.body if result.status < 400 else None
            if verdict is RetryDecision.TOKEN and tokens < _TOKENS and self._csrf.renew(token):
                tokens += 1
                continue
            seconds = None
            if verdict in (RetryDecision.BUSY, RetryDecision.AGAIN):
                seconds = waits.next(result, reached=self._reached, crowded=crowded)
            if seconds is None:
                raise self._error(request, result, verdict) from _cause(result)
            self._pause(result, seconds)

    def wait_for_api(self, seconds: float) -> None:
        """Returns as soon as the server says that it is healthy.

        Raises Unreachable when it has not said so after `seconds`, or at once where waiting cannot
        help (a certificate that is not trusted); Interrupted when a stop was asked for.
        """
        end = self._clock() + seconds
        probe = Request("GET", "/health")
        self._progress.phase(f"waiting for {self.settings.display_url}")
        while True:
            self.cancellation.raise_if_cancelled()
            result, _ = self._attempt(probe, {})
            if isinstance(result, Response) and result.status == 200 and not result.is_html:
                return
            if classify(probe, result) is RetryDecision.OVER and isinstance(result, NoResponse):
                raise unreachable_error(result, self.settings) from result
            if self._clock() >= end:
                raise self._not_ready(result) from _cause(result)
            self._wait(min(1.0, max(0.05, end - self._clock())))

    def _attempt(
        self, request: Request, token: Mapping[str, str]
    ) -> tuple[Response | NoResponse, bool]:
        """One try: what came of it, and whether it was refused because others of ours crowd it."""
        gate = self._reads if _is_read(request) else self._writes
        with gate.passing(lambda: self._wait(0.0)) as turn:
            try:
                result = self._http.send(request.method, request.path, request.body, token)
            except NoResponse as lost:
                if lost.sent:
                    gate.refused(turn)
                return lost, False
            except NotSerializable as error:
                raise Rejected(
                    f"{request.subject or request.path}: holds a value that JSON cannot say"
                ) from error
        self._reached = True
        self.server_clock.observe(result.headers.get("date", ""))
        if classify(request, result) is RetryDecision.BUSY:
            return result, gate.refused(turn)
        gate.served()
        return result, False

    def _pause(self, result: Response | NoResponse, seconds: float) -> None:
        """Waits, and tells why if it is not just for a moment. Raises Interrupted on a stop."""
        if isinstance(result, NoResponse):
            why = result.reason
        else:
            why = "under maintenance" if under_maintenance(result) else f"status {result.status}"
        if seconds >= 1:
            text = f"{self.settings.display_url}: {why}; trying again in {seconds:.0f} s"
            self._progress.output("server", text)
        if self.cancellation.is_cancelled or self._wait(seconds):
            raise self.cancellation.interrupted()

    def _error(
        self, request: Request, result: Response | NoResponse, verdict: RetryDecision
    ) -> ApiError:
        if verdict is RetryDecision.LOST:
            return lost_response_error(request, result, self.settings)
        if isinstance(result, NoResponse):
            return unreachable_error(result, self.settings)
        return response_error(request, result, self.settings, greeted=self._greeted)

    def _not_ready(self, result: Response | NoResponse) -> ApiError:
        if isinstance(result, NoResponse):
            return unreachable_error(result, self.settings)
        url = self.settings.display_url
        return Unreachable(
            f"the server at '{url}' is not healthy (status {result.status})",
            status=result.status,
        )


def headers(settings: Settings) -> dict[str, str]:
    """The headers of every request. The auth string wins over the API key, as in Prefect; custom
    headers win over both, and cannot change who we say we are.
    """
    result = {
        "Accept": "application/json",
        "User-Agent": f"deployctl/{__version__}",
        "X-PREFECT-API-VERSION": API_VERSION,
    }
    if settings.auth_string:
        coded = base64.b64encode(settings.auth_string.encode()).decode()
        result["Authorization"] = f"Basic {coded}"
    elif settings.api_key:
        result["Authorization"] = f"Bearer {settings.api_key}"
    for name, value in settings.custom_headers.items():
        if name.lower() not in _OWN_HEADERS:
            result = {key: old for key, old in result.items() if key.lower() != name.lower()}
            result[name] = value
    return result


class _Waits:
    """How long one request waits before each further try."""

    def __init__(self, settings: Settings, draw: random.Random, now: Callable[[], float]) -> None:
        self._draw = draw
        self._now = now
        self._jitter = settings.retry_jitter_factor
        tries = settings.max_retries + 1
        self._failing = Backoff(tries, jitter=min(1.0, self._jitter)).waits(draw)
        self._gone = Backoff(tries, first=1.0, jitter=min(1.0, self._jitter)).waits(draw)
        self._unknown = Backoff(min(3, tries), first=0.3).waits(draw)

    def next(self, result: Response | NoResponse, *, reached: bool, crowded: bool) -> float | None:
        """Seconds until the next try, or None when it is time to give up.

        A server that has never answered in this process is given up within seconds: its address is
        probably wrong. Maintenance, and refusals that are our own crowd's doing, cost no try.
        """
        now = datetime.fromtimestamp(self._now(), UTC)
        asked = retry_after(result, now) if isinstance(result, Response) else None
        if asked is not None:
            asked *= self._draw.uniform(1, 1 + self._jitter)
        if isinstance(result, Response) and under_maintenance(result):
            return _MAINTENANCE_WAIT if asked is None else asked
        if crowded:
            return asked if asked is not None else self._draw.uniform(0.01, 0.1)
        wait = next(self._series(result, reached), None)
        return wait if wait is None or asked is None else asked

    def _series(self, result: Response | NoResponse, reached: bool) -> Iterator[float]:
        if isinstance(result, Response):
            return self._failing
        return self._gone if reached else self._unknown


def _is_read(request: Request) -> bool:
    return request.method == "GET" or bool(_READ.search(request.path))


def _cause(result: Response | NoResponse) -> NoResponse | None:
    return result if isinstance(result, NoResponse) else None
