"""The tree of errors that deployctl raises.

    DeployctlError
     ├── UsageError          contradictory or invalid arguments               exit 64
     ├── SettingsError       an unusable profile, variable or settings file
     ├── ProgramError        an external program failed or is missing
     ├── StepFailed          a build or push step failed
     ├── Interrupted         stopped by a signal                              exit 130 or 143
     ├── TimedOut            the command's time limit passed
     └── ApiError            a request to the Prefect API failed
          ├── Unreachable    no response: refused, DNS, TLS, timeout
          ├── LostResponse   sent, but unknown whether it was carried out
          ├── Unauthorized   401, 403
          ├── NotFound       404
          ├── Conflict       409
          ├── Rejected       422 and other 4xx
          └── ServerError    5xx and 429 after all retries

Every other error exits with 1. Packages derive their own errors from DeployctlError, e.g.
`KubeApiError` and `RegistryError`. An exception of a library is translated into one of these where
it enters, and chained.

A message is one sentence that says what failed; `help` says what to do about it. Neither contains a
request body, a header or a credential.
"""

from __future__ import annotations

from deployctl.core.diagnostics import Span
from deployctl.core.json_values import JsonPath


class DeployctlError(Exception):
    """Base of all errors that a user sees as a message instead of a traceback."""

    exit_code: int = 1
    code: str = "DC001"
    """The code that `deployctl explain` documents."""
    span: Span | None = None
    """The place in a file that caused the error, if any."""

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.help = help


class UsageError(DeployctlError):
    """Options or arguments contradict each other or refer to nothing."""

    code = "DC002"
    exit_code = 64


class SettingsError(DeployctlError):
    """A setting is missing or invalid; the message names its source."""

    code = "DC003"


class ProgramError(DeployctlError):
    """An external program could not be started, failed, or timed out."""

    code = "DC004"


class StepFailed(DeployctlError):
    """A step of `build:` or `push:` failed. Nothing was written to the server."""

    code = "DC005"
    path: JsonPath = ()
    """The path of the step in prefect.yaml."""


class Interrupted(DeployctlError):
    """The command was stopped by a signal; `exit_code` is 128 + signal."""

    code = "DC006"

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class TimedOut(DeployctlError):
    """The time limit of the command passed before it was complete."""

    code = "DC008"


class ApiError(DeployctlError):
    """A request to the Prefect API failed. `status` is the HTTP status, None without a response."""

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
    """The server gave no response. `was_sent`: it may have carried out the request."""

    code = "DC010"

    def __init__(
        self,
        message: str,
        *,
        help: str | None = None,  # noqa: A002
        status: int | None = None,
        was_sent: bool = False,
    ) -> None:
        super().__init__(message, help=help, status=status)
        self.was_sent = was_sent


class LostResponse(ApiError):
    """The response to a request that must not be repeated was lost; it may have been applied."""

    code = "DC011"


class Unauthorized(ApiError):
    """The server rejects the credentials (401) or what they may do (403)."""

    code = "DC012"


class NotFound(ApiError):
    """The object or the route does not exist."""

    code = "DC013"


class Conflict(ApiError):
    """The object exists already, or its state does not allow the change."""

    code = "DC014"


class Rejected(ApiError):
    """The server rejects the request body; the message names the fields."""

    code = "DC015"


class ServerError(ApiError):
    """The server failed or stayed overloaded through all retries."""

    code = "DC016"
