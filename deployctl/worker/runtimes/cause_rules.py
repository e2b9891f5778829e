"""Tables that turn a message of the cluster or the engine into a `Cause`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from deployctl.worker.model import Cause


class CauseRule(NamedTuple):
    """One row: the messages that it matches and the cause that they have.

    `message` and `help` are `str.format` templates. `{1}`, `{2}`, … are the groups of `pattern`
    (empty if a group took no part); names are the fields that `first_match` gets. Colons,
    full stops and spaces at the end are removed, so that a template may end with an empty detail:
    `"the pod failed: {detail}"`.
    """

    pattern: str
    """Regular expression that is searched for in the message; "" matches every message."""
    code: str
    message: str
    help: str = ""
    stuck: bool = False

    def match(self, text: str, **fields: str) -> Cause | None:
        """The cause of a message; None if the pattern does not match."""
        found = re.search(self.pattern, text)
        if found is None:
            return None
        groups = [group or "" for group in (found[0], *found.groups())]
        message = self.message.format(*groups, **fields).rstrip(":. ")
        return Cause(self.code, message, self.help.format(*groups, **fields), self.stuck)


def first_match(rules: Sequence[CauseRule], text: str, **fields: str) -> Cause | None:
    """The cause by the first matching rule. `fields` may be used by the rules' templates."""
    return next((cause for rule in rules if (cause := rule.match(text, **fields))), None)
