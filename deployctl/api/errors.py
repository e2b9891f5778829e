"""Translates error responses of the server into messages that name the object and the field.

The server repeats the request in its error responses (`request_body`, `input`, and job variables
within the text). These are left out here: they may contain secrets, and they bury the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployctl.api.calls import Request
from deployctl.api.setting_fields import with_api_path
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

_VALUE_KEYS = ("job_variables", "infra_overrides", "parameters", "value", "data")
"""Keys of a request body whose values must not appear in a message."""

_MAX_FIELDS = 5


def response_error(
    request: Request, response: Response, settings: Settings, *, is_prefect: bool
) -> ApiError:
    """The error for a response of status 400 or above, or for HTML in place of JSON.

    `is_prefect`: whether the server has behaved like a Prefect API before.
    """
    status = response.status
    if _is_not_prefect(response, is_prefect):
        return _not_an_api(response, settings)
    subject, reason = _subject(request), _reason(request, response.body)
    if status == 401:
        return Unauthorized(
            f"{_server(settings)} does not accept these credentials",
            help=_credentials_help(settings),
            status=status,
        )
    if status == 403:
        return Unauthorized(
            f"{subject}: not allowed with these credentials{reason}",
            help=_forbidden_help(response),
            status=status,
        )
    if status == 404:
        return NotFound(f"{subject}: not found{reason}", status=status)
    if status == 409:
        return Conflict(f"{subject}: conflicts with what exists{reason}", status=status)
    if status < 500 and status not in (408, 429):
        return Rejected(f"{subject}: rejected by the server{reason}", status=status)
    return ServerError(
        f"{subject}: {_server(settings)} failed with status {status} in every attempt{reason}",
        help="See the log of the server for the reason.",
        status=status,
    )


def unreachable_error(error: NoResponse, settings: Settings, *, was_sent: bool = False) -> ApiError:
    """The error for a request without a response after all attempts.

    `was_sent`: whether the server may have received one of them.
    """
    return Unreachable(
        f"{_server(settings)} cannot be reached: {redact(error.reason)}",
        help=error.help or f"The address comes from {settings.origin('api_url')}.",
        was_sent=was_sent,
    )


def lost_response_error(
    request: Request, result: Response | NoResponse, settings: Settings
) -> ApiError:
    """The error for a request that is not idempotent and may have been carried out."""
    if isinstance(result, Response):
        reason = f"{_server(settings)} failed with status {result.status}"
        return LostResponse(f"{_subject(request)}: sent, but {reason}", status=result.status)
    return LostResponse(f"{_subject(request)}: sent, but {redact(result.reason)}")


def _subject(request: Request) -> str:
    return request.subject or f"{request.method} {request.path}"


def _server(settings: Settings) -> str:
    return f"the server at '{redact(settings.api_url)}'"


def _is_not_prefect(response: Response, is_prefect: bool) -> bool:
    """Whether something other than a Prefect API responded: HTML, or an unknown route."""
    if response.is_html:
        return response.status < 400 or response.status in (404, 405)
    detail = response.body.get("detail") if isinstance(response.body, dict) else None
    known = isinstance(detail, str) and detail not in ("Not Found", "Method Not Allowed")
    return not is_prefect and response.status in (404, 405) and not known


def _not_an_api(response: Response, settings: Settings) -> ApiError:
    url = redact(settings.api_url)
    likely = with_api_path(url)
    return NotFound(
        f"there is no Prefect API at '{url}' (status {response.status})",
        help=f"Did you mean '{likely}'?"
        if likely != url and not settings.is_cloud
        else f"The address comes from {settings.origin('api_url')}.",
        status=response.status,
    )


def _credentials_help(settings: Settings) -> str:
    if any(name.lower() == "authorization" for name in settings.custom_headers):
        return f"They are the custom header that comes from {settings.origin('custom_headers')}."
    for field, name in (("auth_string", "auth string"), ("api_key", "API key")):
        if getattr(settings, field):
            return f"The {name} that was sent comes from {settings.origin(field)}."
    return "None were sent: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING."


def _forbidden_help(response: Response) -> str | None:
    if "CSRF" in str(response.body):
        return "Set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true."
    return None


def _reason(request: Request, body: Json) -> str:
    """`: reason` as the server states it, or "". Routes and versions use three different shapes."""
    if not isinstance(body, dict):
        return ""
    details = body.get("exception_detail") or body.get("detail") or body.get("exception_message")
    if isinstance(details, str):
        messages = [details]
    elif isinstance(details, list):
        messages = list(
            dict.fromkeys(_detail_message(each) for each in details if isinstance(each, dict))
        )
    else:
        return ""
    more = f"; and {len(messages) - _MAX_FIELDS} more" if len(messages) > _MAX_FIELDS else ""
    text = "; ".join(messages[:_MAX_FIELDS]) + more
    text = redact(_without_values(text, request.body)).rstrip(". ")
    return f": {text}" if text and text != "Not Found" else ""


def _detail_message(detail: Json) -> str:
    message = str(detail.get("msg", "")).removeprefix("Value error, ")
    # FastAPI adds the members of a union to the path: `function-after[…]`, `CronSchedule`.
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
    """The strings below `_VALUE_KEYS` of a request body."""
    if isinstance(body, dict):
        for key in _VALUE_KEYS:
            for _, leaf in leaves(body.get(key)):
                if isinstance(leaf, str) and len(leaf) > 1:
                    yield leaf
