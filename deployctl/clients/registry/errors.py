"""Errors of registries.

    RegistryError             unexpected response                                  DC710
     ├── RegistryUnreachable  no response: refused, DNS, TLS, timeout, broken off  DC711
     ├── NotInRegistry        404: no such repository, tag or blob                 DC712
     ├── Denied               401, 403: invalid credentials, or no permission      DC713
     ├── TooLarge             413, 507, quota exceeded                             DC714
     ├── RateLimited          429 after all retries                                DC715
     ├── RegistryFault        5xx after all retries                                DC716
     └── DigestMismatch       content does not have its digest                     DC717

Registries explain an error in a JSON list with a code for each; their message is included, with
every known secret masked. Registries disagree on status codes, so the error code takes precedence
if it is more specific.
"""

from __future__ import annotations

import json
from contextlib import suppress

from deployctl.clients.http import NoResponse
from deployctl.core.errors import DeployctlError
from deployctl.core.redact import redact

LOGIN_HELP = "Log in with `docker login {host}`, or set `credentials` in the push step."
TOO_LARGE_HELP = "Make the image smaller, or ask the registry's administrator to raise the limit."
_MAX_EXPLANATION = 300


class RegistryError(DeployctlError):
    """A registry request failed."""

    code = "DC710"


class RegistryUnreachable(RegistryError):
    """A registry did not respond."""

    code = "DC711"


class NotInRegistry(RegistryError):
    """A registry has no such repository, tag or blob."""

    code = "DC712"


class Denied(RegistryError):
    """A registry rejects the credentials, or they lack the permission."""

    code = "DC713"


class TooLarge(RegistryError):
    """A registry, or a proxy in front of it, rejects content of this size."""

    code = "DC714"


class RateLimited(RegistryError):
    """A registry still limits the rate of requests after all retries."""

    code = "DC715"


class RegistryFault(RegistryError):
    """A registry still fails after all retries."""

    code = "DC716"


class DigestMismatch(RegistryError):
    """Content in a registry, or in transit, does not have its digest."""

    code = "DC717"


def no_response_error(host: str, lost: NoResponse) -> RegistryUnreachable:
    """The error of a request without a response."""
    help_ = lost.help or "Check the registry's name, and that this machine may connect to it."
    return RegistryUnreachable(f"cannot reach the registry '{host}': {lost.reason}", help=help_)


def response_error(
    host: str, action: str, status: int, body: bytes, user: str | None, *, by: str = ""
) -> RegistryError:
    """The error of a response with a status of 400 or more.

    `action`: what was attempted, as in `cannot ACTION`; `user`: the username, None for anonymous
    access; `by`: who responded, if not the registry itself.
    """
    codes, explanation = _explanation(body)
    by = by or f"the registry '{host}'"
    message = f"cannot {action}: {by} answers {status}" + (explanation and f": {explanation}")
    if status in (413, 507) or "quota" in explanation.lower():
        return TooLarge(message, help=TOO_LARGE_HELP)
    if status in (401, 403) or codes & {"UNAUTHORIZED", "DENIED"}:
        return Denied(message, help=_denied_help(host, status, user))
    if status == 429 or "TOOMANYREQUESTS" in codes:
        return RateLimited(message, help="Try again later, or log in, which raises most limits.")
    if "DIGEST_INVALID" in codes:
        return DigestMismatch(
            message, help="Try again; check for a proxy that changes content in transit."
        )
    if status == 404:
        return NotInRegistry(
            message, help="Check the name; registries report private repositories as missing."
        )
    if status >= 500 or status == 408:
        return RegistryFault(message, help="Try again later, or ask the registry's administrator.")
    return RegistryError(message)


def _denied_help(host: str, status: int, user: str | None) -> str:
    if user is None:
        return LOGIN_HELP.format(host=host)
    if status == 401:
        return f"The password of '{user}' is wrong or has expired: run `docker login {host}`."
    return f"Give '{user}' the permission, or log in as another user: `docker login {host}`."


def _explanation(body: bytes) -> tuple[set[str], str]:
    """The codes and messages of an error response; a body that is not JSON is ignored."""
    codes, messages = set(), []
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        answer = json.loads(body)
        for error in answer.get("errors") or [answer]:
            codes.add(str(error.get("code", "")).upper())
            message = error.get("message") or error.get("details") or error.get("error")
            messages += [str(message)] if message else []
    return codes, redact("; ".join(dict.fromkeys(messages)))[:_MAX_EXPLANATION]
