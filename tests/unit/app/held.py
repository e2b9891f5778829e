"""Holds a talk with a function in place of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deployctl.api.calls import ApiCall, Request
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

T = TypeVar("T")


def held(talk: ApiCall[T], server: Callable[[Request], Json]) -> T:
    """What the talk comes to; an error of the server is thrown into it, as a driver does."""
    try:
        batch = next(talk)
        while True:
            try:
                answers = [server(request) for request in batch]
            except DeployctlError as error:
                batch = talk.throw(error)
            else:
                batch = talk.send(answers)
    except StopIteration as stop:
        value: T = stop.value
        return value
