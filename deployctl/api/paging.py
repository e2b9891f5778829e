"""Filter listings, page by page."""

from __future__ import annotations

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.core.json_values import Json

PAGE = 200
"""The most that the server returns for one filter request (PREFECT_SERVER_API_DEFAULT_LIMIT).

A larger `limit` is answered with 422.
"""


def pages(collection: str, body: Json, expected: int) -> ApiCall[list[Json]]:
    """Reads a whole filter listing of a collection.

    The pages that `expected` objects fill are requested at once, any others one by one.

    Where a listing can be sorted, `body` should sort by time of creation: names may be equal, and
    equal rows may change places between pages.
    """
    path = paths.listing(collection)
    found: list[Json] = []
    offset, width = 0, max(1, -(-expected // PAGE))
    while True:
        offsets = range(offset, offset + width * PAGE, PAGE)
        answers = yield [
            Request("POST", path, {**body, "limit": PAGE, "offset": start}) for start in offsets
        ]
        for answer in answers:
            found.extend(answer)
        if len(answers[-1]) < PAGE:
            return found
        offset, width = offset + width * PAGE, 1
