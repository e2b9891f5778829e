"""The one tree of errors. Whatever a library raises becomes one of these at its doorway, chained.

    DeployctlError
     ├── UsageError            the command line makes no sense             exit 64
     ├── SettingsError         a profile, environment variable or settings file is unusable
     ├── ProgramError          a program that was called failed or is missing
     ├── StepFailed            a build or push step failed
     ├── Interrupted           a signal asked to stop                      exit 130 or 143
     └── ApiError              the Prefect server, or the way to it
          ├── Unreachable      no answer: refused, DNS, TLS, timeout
          ├── LostResponse       sent, and nobody knows whether it was carried out
          ├── Unauthorized     401, 403
          ├── NotFound         404
          ├── Conflict         409
          ├── Rejected         422 and other 4xx: the server does not take this
          └── ServerError      5xx and 429 after all retries

A message is one sentence of what failed; `help` is the way out. Neither ever holds a request body,
a header or a credential.
"""

from __future__ import annotations

from deployctl.core.diagnostics import Span
from deployctl.core.json_values import JsonPath


class DeployctlError(Exception):
    """Anything that ends a command with a message of its own instead of a traceback."""

    exit_code: int = 1
    code: str = "DC001"
    """What `deployctl explain` knows it as."""
    span: Span | None = None
    """The place in a file that it is about, if it is about one."""

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.help = help


class UsageError(DeployctlError):
    """Flags or arguments that contradict each other or name nothing."""

    code = "DC002"
    exit_code = 64


class SettingsError(DeployctlError):
    """A setting is missing or cannot be used; the message names where it came from."""

    code = "DC003"


class ProgramError(DeployctlError):
    """A program could not be started, failed, or took too long."""

    code = "DC004"


class StepFailed(DeployctlError):
    """A step of `build:` or `push:` failed; nothing was written to the server."""

    code = "DC005"
    path: JsonPath = ()
    """Where the step stands in its document."""


class Interrupted(DeployctlError):
    """A signal ended the command in an orderly way."""

    code = "DC006"

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class ApiError(DeployctlError):
    """A request to the Prefect API did not do what it should."""

    code = "DC007"

    def __init__(
        self,
        message: str,
        *,
        help: str | None = None,  # noqa: A002
        status: int | None = None,
    ) -> None:
        super().__init__(message, help=help)
        self.status = status


class Unreachable(ApiError):
    """The server gave no answer."""

    code = "DC010"


class LostResponse(ApiError):
    """A request that must not be sent twice was sent, and its answer never came."""

    code = "DC011"


class Unauthorized(ApiError):
    """The server wants other credentials (401) or refuses this to these (403)."""

    code = "DC012"


class NotFound(ApiError):
    """The server has no such object or no such route."""

    code = "DC013"


class Conflict(ApiError):
    """The object exists already or its state does not allow the change."""

    code = "DC014"


class Rejected(ApiError):
    """The server does not take what was sent; the message names the fields."""

    code = "DC015"


class ServerError(ApiError):
    """The server failed, or stayed overloaded, through all retries."""

    code = "DC016"
