"""The marker by which a worker recognises its own claims: text at the end of a state's message.

A state's message is the one field that both majors store as sent, return in every list of runs and
keep in the history of states. Any replica can therefore read who owns a run, also after a restart,
and never touches runs of a Prefect worker or of a worker in another cluster on the same pool.

A claim also records the name that the run had: the Job's name is made from it, and a run that is
renamed while two workers create its Job must not get two Jobs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_MARKER = re.compile(
    r"\[deployctl (?P<owner>\S+?)(?: (?P<attempt>[0-9a-f-]{36}))?(?: as=(?P<name>\S+))?\]$"
)
_CLAIMED_BY = re.compile(r"Claimed by worker '(.*)'\.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClaimMarker:
    """Owner, attempt and run name of a claim, e.g. `[deployctl uid/ns/pool as=red-fox]`."""

    owner: str
    attempt: str = ""
    """Id of the claim's state; "" in the claim itself, which cannot contain its own id."""
    name: str = ""
    """Name of the run when it was claimed; "" if it is not recorded."""

    def __str__(self) -> str:
        name = self.name and f"as={quote(self.name, safe='')}"
        return f"[deployctl {' '.join(filter(None, (self.owner, self.attempt, name)))}]"


def claim_message(worker: str, marker: ClaimMarker) -> str:
    """The message of a claim's state."""
    return with_marker(f"Claimed by worker '{worker}'.", marker)


def claim_worker(message: str | None) -> str:
    """The name of the worker that made the claim with this message; "" if it names none."""
    found = _CLAIMED_BY.fullmatch(without_marker(message))
    return found[1] if found else ""


def with_marker(message: str, marker: ClaimMarker) -> str:
    """Appends the marker to a message."""
    return f"{message} {marker}".lstrip()


def without_marker(message: str | None) -> str:
    """The message as users should see it."""
    return _MARKER.sub("", message or "").rstrip()


def parse_marker(message: str | None) -> ClaimMarker | None:
    """Returns the marker of a state's message; None if it has none."""
    found = _MARKER.search(message or "")
    if found is None:
        return None
    return ClaimMarker(found["owner"], found["attempt"] or "", unquote(found["name"] or ""))
