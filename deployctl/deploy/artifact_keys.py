"""The keys of the artifacts that hold what deployctl knows about a project."""

from __future__ import annotations

import hashlib
import re
import unicodedata

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
