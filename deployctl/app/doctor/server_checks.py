"""Checks of the Prefect server: its address, version, credentials and clock."""

from __future__ import annotations

from dataclasses import dataclass

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import Dialect, detect
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.app.doctor.model import Area, Check, failed, failed_with, ok
from deployctl.core.errors import ApiError, DeployctlError, NotFound, Unauthorized, Unreachable

MAX_CLOCK_SKEW = 10.0
"""Seconds. deployctl reckons with the server's clock; what runs in jobs and signs tokens does
not."""


@dataclass(frozen=True, slots=True)
class ServerFindings:
    """The checks of the server, and whether it can be asked for more."""

    checks: tuple[Check, ...]
    answers: bool = False


def examine_server(session: Session) -> ServerFindings:
    """Asks the server for its version, and for what needs credentials."""
    settings = session.settings
    try:
        dialect = run_inline(_read(cloud=settings.is_cloud), session)
    except DeployctlError as error:
        return ServerFindings((server_failure(error, settings),))
    checks = (
        ok(Area.SERVER, "address", f"{settings.display_url} (from {settings.origin('api_url')})"),
        ok(Area.SERVER, "version", str(dialect)),
        ok(Area.SERVER, "credentials", _credentials(settings)),
        clock_check(Area.SERVER, "the server", session.server_clock.offset),
    )
    return ServerFindings(checks, answers=True)


def _read(*, cloud: bool) -> ApiCall[Dialect]:
    dialect = yield from detect(cloud)
    listing = Request("POST", paths.listing(paths.WORK_POOLS), {"limit": 1}, subject="work pools")
    yield from call(listing)
    return dialect


def server_failure(error: DeployctlError, settings: Settings) -> Check:
    """The one check that an error of the first requests means."""
    where = f"`curl {settings.display_url}/health` shows whether this machine reaches it."
    match error:
        case Unauthorized():
            variable = "PREFECT_API_AUTH_STRING" if settings.auth_string else "PREFECT_API_KEY"
            fix = f"Set the right one: `export {variable}=…`."
            return failed_with(Area.SERVER, "credentials", error, fix)
        case NotFound():
            fix = "Set the right one: `export PREFECT_API_URL=…`."
            return failed_with(Area.SERVER, "address", error, fix)
        case Unreachable() if "certificate" in error.message:
            return failed_with(Area.SERVER, "certificate", error)
        case Unreachable():
            return failed_with(Area.SERVER, "connection", error, where)
        case ApiError() if error.status is None:
            return failed_with(Area.SERVER, "version", error)
        case ApiError():
            return failed_with(Area.SERVER, "answers", error)
    return failed_with(Area.SERVER, "settings", error)


def _credentials(settings: Settings) -> str:
    if any(name.lower() == "authorization" for name in settings.custom_headers):
        return "the custom header is accepted"
    if settings.auth_string:
        return "the auth string is accepted"
    return "the API key is accepted" if settings.api_key else "none are set, and none are needed"


def clock_check(area: Area, whose: str, offset: float) -> Check:
    """Judges by how many seconds the clock of something is ahead of this machine's."""
    if abs(offset) <= MAX_CLOCK_SKEW:
        return ok(area, "clock", f"that of {whose} agrees with this machine's")
    direction = "ahead of" if offset > 0 else "behind"
    return failed(
        area,
        "clock",
        f"the clock of {whose} is {abs(offset):.0f} s {direction} this machine's",
        "Synchronise both with NTP: `timedatectl set-ntp true`.",
    )
