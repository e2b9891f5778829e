"""Artifacts of the server, in which deployctl keeps what it knows about a project.

They are the one place on every Prefect server that stores megabytes under a key of our choice and
is never cleaned up. Each write adds a version of its key.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from contextlib import suppress

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import PAGE
from deployctl.core.errors import ApiError
from deployctl.core.json_values import Json

KEY_PREFIX = "deployctl-"


def artifact_key(project: str) -> str:
    """The artifact key of a project; the server accepts lower-case ASCII, digits and dashes.

    A name that has to be changed for that gets a hash of the original as suffix, so that `My ETL`
    and `my etl` have different keys.
    """
    plain = unicodedata.normalize("NFKD", project).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if slug != project:
        slug = f"{slug}-{hashlib.sha256(project.encode()).hexdigest()[:8]}".strip("-")
    return f"{KEY_PREFIX}{slug}"


def read_artifacts(key: str, subject: str, limit: int, offset: int = 0) -> ApiCall[list[Json]]:
    """Versions of a key as the server has them, newest first. `subject` is for messages."""
    body = {
        "artifacts": {"key": {"any_": [key]}},
        "sort": "CREATED_DESC",
        "limit": limit,
        "offset": offset,
    }
    path = paths.listing(paths.ARTIFACTS)
    found: list[Json] = yield from call(Request("POST", path, body, subject=subject))
    return found


def deletion(version: Json, subject: str) -> Request:
    """The request that deletes a version; one that is gone already is no error."""
    return Request("DELETE", paths.artifact(version["id"]), missing_ok=True, subject=subject)


def remove_old_artifacts(key: str, subject: str, kept: int) -> ApiCall[None]:
    """Deletes all but the newest `kept` versions of a key, up to one page of them.

    They are of no use, so an error of the server is ignored: the next deploy tries again.
    """
    with suppress(ApiError):
        old = yield from read_artifacts(key, subject, PAGE, kept)
        yield [deletion(each, subject) for each in old]
