"""The exchanges that a proxy records, and the faults that it injects."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict

READING_POST = re.compile(r"/(filter|filter-minimal|count|count_by_state|paginate|history)$")
Act: TypeAlias = Literal["answer", "drop", "refuse", "delay", "hang"]


class Where(TypedDict, total=False):
    """Which requests a fault affects; by default all."""

    method: str | None
    path: str
    """A regular expression to search in the path."""
    query: str
    """A regular expression to search in the query."""
    times: int | None
    """How many requests; 1 by default, None for all."""
    since: int
    """The number of the first request; 1 by default."""


@dataclass
class Exchange:
    """A request and the status of its answer."""

    number: int
    method: str
    path: str
    """The path below the API URL, without the query: `/deployments/filter`."""
    query: str
    headers: dict[str, str]
    """Header values by lower-case name."""
    body: Any
    """The parsed JSON body, or None."""
    status: int | None = None
    """The status of the answer; None without one."""
    forwarded: bool = False
    """Whether the request was sent to the server."""

    @property
    def writes(self) -> bool:
        """Whether the request may have changed something on the server."""
        reads = self.method == "POST" and READING_POST.search(self.path)
        return self.method not in {"GET", "WATCH"} and not reads


@dataclass
class Fault:
    """What to do instead of forwarding a request and its answer."""

    act: Act
    where: Where
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    """Set to end a delay early."""

    def take(self, exchange: Exchange) -> bool:
        """Return whether the fault affects the request, and count its use."""
        where = self.where
        times = where.get("times", 1)
        matches = (
            times != 0
            and exchange.number >= where.get("since", 1)
            and where.get("method") in {None, exchange.method}
            and re.search(where.get("path", ""), exchange.path) is not None
            and re.search(where.get("query", ""), exchange.query) is not None
        )
        if matches and times is not None:
            where["times"] = times - 1
        return matches
