"""Runs an API call with a function in place of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deployctl.api.calls import ApiCall, Request
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

T = TypeVar("T")


def run_with(api_call: ApiCall[T], server: Callable[[Request], Json]) -> T:
    """The result of the call; an error of the server is thrown into it, as a driver does."""
    try:
        batch = next(api_call)
        while True:
            try:
                answers = [server(request) for request in batch]
            except DeployctlError as error:
                batch = api_call.throw(error)
            else:
                batch = api_call.send(answers)
    except StopIteration as stop:
        value: T = stop.value
        return value
