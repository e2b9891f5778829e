"""Refusals of the server as sentences: they name the object and the field.

The server repeats what it was sent in its answers (`request_body`, `input`, and job variables in
the text itself). Those are left out here: they may hold secrets, and they bury the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployctl.api.calls import Request
from deployctl.api.settings import Settings
from deployctl.clients.http import NoResponse, Response
from deployctl.core.errors import (
    ApiError,
    Conflict,
    LostResponse,
    NotFound,
    Rejected,
    ServerError,
    Unauthorized,
    Unreachable,
)
from deployctl.core.json_values import Json, JsonPath, format_path, leaves
from deployctl.core.redact import redact

_VALUES = ("job_variables", "infra_overrides", "parameters", "value", "data")
"""Keys of a body under which a text of the server must not repeat anything."""

_MOST_FIELDS = 5


def response_error(
    request: Request, answer: Response, settings: Settings, *, greeted: bool
) -> ApiError:
    """The error for an answer of status 400 and above, or for a page where JSON should be.

    `greeted`: whether the server behaved like a Prefect API before.
    """
    status = answer.status
    if _is_stranger(answer, greeted):
        return _not_an_api(answer, settings)
    about, reason = _about(request), _reason(request, answer.body)
    if status == 401:
        return Unauthorized(
            f"{_server(settings)} does not accept these credentials",
            help=_credentials(settings),
            status=status,
        )
    if status == 403:
        return Unauthorized(
            f"{about}: not allowed with these credentials{reason}",
            help=_forbidden(answer),
            status=status,
        )
    if status == 404:
        return NotFound(f"{about}: not found{reason}", status=status)
    if status == 409:
        return Conflict(f"{about}: in conflict with what is there{reason}", status=status)
    if status < 500 and status not in (408, 429):
        return Rejected(f"{about}: not accepted by the server{reason}", status=status)
    return ServerError(
        f"{about}: {_server(settings)} failed with status {status}, again and again{reason}",
        help="Its log says why.",
        status=status,
    )


def unreachable_error(lost: NoResponse, settings: Settings) -> ApiError:
    """The error for a request that got no answer, after all tries."""
    return Unreachable(
        f"{_server(settings)} cannot be reached: {redact(lost.reason)}",
        help=lost.help or f"The address comes from {settings.origin('api_url')}.",
    )


def lost_response_error(
    request: Request, result: Response | NoResponse, settings: Settings
) -> ApiError:
    """The error for a request that must not be repeated and may have been carried out."""
    if isinstance(result, Response):
        why = f"{_server(settings)} failed with status {result.status}"
        return LostResponse(f"{_about(request)}: sent, but {why}", status=result.status)
    return LostResponse(f"{_about(request)}: sent, but {redact(result.reason)}")


def _about(request: Request) -> str:
    return request.subject or f"{request.method} {request.path}"


def _server(settings: Settings) -> str:
    return f"the server at '{redact(settings.api_url)}'"


def _is_stranger(answer: Response, greeted: bool) -> bool:
    """Whether this comes from something else than a Prefect API: a page, or an unknown route."""
    if answer.is_html:
        return answer.status < 400 or answer.status in (404, 405)
    detail = answer.body.get("detail") if isinstance(answer.body, dict) else None
    known = isinstance(detail, str) and detail not in ("Not Found", "Method Not Allowed")
    return not greeted and answer.status in (404, 405) and not known


def _not_an_api(answer: Response, settings: Settings) -> ApiError:
    url = redact(settings.api_url)
    missing = not settings.api_url.endswith("/api")
    return NotFound(
        f"there is no Prefect API at '{url}' (status {answer.status})",
        help=f"Did you mean '{url}/api'?"
        if missing and not settings.is_cloud
        else f"The address comes from {settings.origin('api_url')}.",
        status=answer.status,
    )


def _credentials(settings: Settings) -> str:
    if any(name.lower() == "authorization" for name in settings.custom_headers):
        return f"They are the custom header that comes from {settings.origin('custom_headers')}."
    for field, name in (("auth_string", "auth string"), ("api_key", "API key")):
        if getattr(settings, field):
            return f"The {name} that was sent comes from {settings.origin(field)}."
    return "None were sent: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING."


def _forbidden(answer: Response) -> str | None:
    if "CSRF" in str(answer.body):
        return "Set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true."
    return None


def _reason(request: Request, body: Json) -> str:
    """`: what the server says`, or nothing. Three shapes are in use, by route and version."""
    if not isinstance(body, dict):
        return ""
    details = body.get("exception_detail") or body.get("detail") or body.get("exception_message")
    if isinstance(details, str):
        said = [details]
    elif isinstance(details, list):
        said = list(dict.fromkeys(_one(each) for each in details if isinstance(each, dict)))
    else:
        return ""
    more = f"; and {len(said) - _MOST_FIELDS} more" if len(said) > _MOST_FIELDS else ""
    text = "; ".join(said[:_MOST_FIELDS]) + more
    text = redact(_without_values(text, request.body)).rstrip(". ")
    return f": {text}" if text and text != "Not Found" else ""


def _one(detail: Json) -> str:
    message = str(detail.get("msg", "")).removeprefix("Value error, ")
    # FastAPI puts the kinds of a union into the path: `function-after[…]`, `CronSchedule`.
    path: JsonPath = tuple(
        part
        for part in detail.get("loc", ())[1:]
        if isinstance(part, int) or re.fullmatch(r"[a-z_0-9]+", str(part))
    )
    return f"'{format_path(path)}': {message}" if path else message


def _without_values(text: str, body: Json) -> str:
    for value in sorted(set(_values(body)), key=len, reverse=True):
        text = text.replace(value, "…")
    return text


def _values(body: Json) -> Iterator[str]:
    if isinstance(body, dict):
        for key in _VALUES:
            for _, leaf in leaves(body.get(key)):
                if isinstance(leaf, str) and len(leaf) > 1:
                    yield leaf
