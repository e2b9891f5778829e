"""What a proxy writes down, and what it can do instead of its work."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict

READING_POST = re.compile(r"/(filter|filter-minimal|count|count_by_state|paginate|history)$")
Act: TypeAlias = Literal["answer", "drop", "refuse", "delay", "hang"]


class Where(TypedDict, total=False):
    """Which requests are meant: all, where nothing is said."""

    method: str | None
    path: str
    """A regular expression that is searched in the path."""
    query: str
    """The same for the query."""
    times: int | None
    """How many of them; 1 where nothing is said, None for ever."""


@dataclass
class Exchange:
    """A request as it came in, and what was answered."""

    number: int
    method: str
    path: str
    """Below the API URL, without the query: `/deployments/filter`."""
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON; None where there was none."""
    status: int | None = None
    """None when no answer was given."""
    forwarded: bool = False
    """Whether the server got it."""

    @property
    def writes(self) -> bool:
        """Whether it can have changed something on the server."""
        reads = self.method == "POST" and READING_POST.search(self.path)
        return self.method not in {"GET", "WATCH"} and not reads


@dataclass
class Fault:
    """What to do instead of passing a request on and its answer back."""

    act: Act
    where: Where
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    """Ends a delay before its time."""

    def take(self, exchange: Exchange) -> bool:
        """Whether the request is meant; uses the fault up by one where it is."""
        where = self.where
        times = where.get("times", 1)
        meant = (
            times != 0
            and where.get("method") in {None, exchange.method}
            and re.search(where.get("path", ""), exchange.path) is not None
            and re.search(where.get("query", ""), exchange.query) is not None
        )
        if meant and times is not None:
            where["times"] = times - 1
        return meant
