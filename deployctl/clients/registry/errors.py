"""What can go wrong with a registry, as errors of ours.

    RegistryError             an answer that nobody expects                        DC710
     ├── RegistryUnreachable  no answer: refused, DNS, TLS, timeout, broken off    DC711
     ├── NotInRegistry        404: no such repository, tag or blob                 DC712
     ├── Denied               401, 403: the login is wrong, or has no right        DC713
     ├── TooLarge             413, 507, quota                                      DC714
     ├── RegistryBusy         429 after all retries                                DC715
     ├── RegistryFault        5xx after all retries                                DC716
     └── WrongContent         it is not what its digest says                       DC717

Registries explain themselves in a list of errors with a code each; what they say is repeated, with
every known secret masked. Registries disagree on statuses, so the code counts where it is clearer.
"""

from __future__ import annotations

import json
from contextlib import suppress

from deployctl.clients.http import NoResponse
from deployctl.core.errors import DeployctlError
from deployctl.core.redact import redact

_LONGEST_SAYING = 300


class RegistryError(DeployctlError):
    """A registry did not do what it was asked for."""

    code = "DC710"


class RegistryUnreachable(RegistryError):
    """A registry gave no answer."""

    code = "DC711"


class NotInRegistry(RegistryError):
    """A registry has no such repository, tag or blob."""

    code = "DC712"


class Denied(RegistryError):
    """A registry does not take the login, or does not let it do this."""

    code = "DC713"


class TooLarge(RegistryError):
    """A registry, or what stands before it, does not take that much."""

    code = "DC714"


class RateLimited(RegistryError):
    """A registry asks again and again for patience."""

    code = "DC715"


class RegistryFault(RegistryError):
    """A registry fails, through all retries."""

    code = "DC716"


class DigestMismatch(RegistryError):
    """Something in a registry, or on its way to it, is not what its digest says."""

    code = "DC717"


def unreachable(host: str, lost: NoResponse) -> RegistryUnreachable:
    """The error of a request without an answer."""
    help_ = lost.help or "see that this is its name, and that this machine may reach it"
    return RegistryUnreachable(f"the registry '{host}' cannot be used: {lost.reason}", help=help_)


def refused(
    host: str, about: str, status: int, body: bytes, user: str | None, *, by: str = ""
) -> RegistryError:
    """The error of an answer with a status of 400 or more.

    `about`: what was wanted, as in `cannot ABOUT`; `user`: who is logged in, None for nobody;
    `by`: who answered, if not the registry itself.
    """
    codes, says = _explanation(body)
    by = by or f"the registry '{host}'"
    message = f"cannot {about}: {by} answers {status}" + (says and f": {says}")
    if status in (413, 507) or "quota" in says.lower():
        return TooLarge(message, help="make the image smaller, or ask who runs the registry")
    if status in (401, 403) or codes & {"UNAUTHORIZED", "DENIED"}:
        return Denied(message, help=_way_in(host, status, user))
    if status == 429 or "TOOMANYREQUESTS" in codes:
        return RateLimited(message, help="try again later, or log in: that raises most limits")
    if "DIGEST_INVALID" in codes:
        return DigestMismatch(message, help="try again; something on the way changes what is sent")
    if status == 404:
        return NotInRegistry(
            message, help="look for a misspelt name; registries hide what is private"
        )
    if status >= 500 or status == 408:
        return RegistryFault(message, help="try again later, or ask who runs the registry")
    return RegistryError(message)


def _way_in(host: str, status: int, user: str | None) -> str:
    if user is None:
        return f"log in with `docker login {host}`, or give the push step `credentials`"
    if status == 401:
        return f"the login of '{user}' is wrong or has expired: `docker login {host}`"
    return f"let '{user}' do it, or log in as somebody who may: `docker login {host}`"


def _explanation(body: bytes) -> tuple[set[str], str]:
    """The codes of the errors in an answer, and what they say; text that is no JSON is left out."""
    codes, sayings = set(), []
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        answer = json.loads(body)
        for error in answer.get("errors") or [answer]:
            codes.add(str(error.get("code", "")).upper())
            saying = error.get("message") or error.get("details") or error.get("error")
            sayings += [str(saying)] if saying else []
    return codes, redact("; ".join(dict.fromkeys(sayings)))[:_LONGEST_SAYING]
