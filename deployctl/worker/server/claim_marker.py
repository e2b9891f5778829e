"""The sign by which a worker knows its own claims: text at the end of a state's message.

A state's message is the one field that both majors keep as it was sent, give back in every list of
runs, and keep in the history of states. So who answers for a run can be read by any replica, after
any restart, and a Prefect worker or a worker of another cluster on the same pool is never touched.

A claim also tells what its run was called then: the job's name is made of that, and a run that is
renamed while two workers create its job must not get two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_MARK = re.compile(
    r"\[deployctl (?P<owner>\S+?)(?: (?P<attempt>[0-9a-f-]{36}))?(?: as=(?P<name>\S+))?\]$"
)


@dataclass(frozen=True, slots=True)
class ClaimMarker:
    """Who claimed a run, and under which attempt."""

    owner: str
    attempt: str = ""
    """The id of the claim's state; "" in the claim itself, which cannot know its own id."""
    name: str = ""
    """What the run was called when it was claimed; "" where that is not said."""

    def __str__(self) -> str:
        name = self.name and f"as={quote(self.name, safe='')}"
        return f"[deployctl {' '.join(filter(None, (self.owner, self.attempt, name)))}]"


def with_marker(message: str, mark: ClaimMarker) -> str:
    """The message with the mark at its end."""
    return f"{message} {mark}".lstrip()


def parse_marker(message: str | None) -> ClaimMarker | None:
    """The mark of a state's message, if it has one."""
    found = _MARK.search(message or "")
    if found is None:
        return None
    return ClaimMarker(found["owner"], found["attempt"] or "", unquote(found["name"] or ""))
