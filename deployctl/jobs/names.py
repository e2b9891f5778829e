"""Names, labels and image of a job, by the rules of Kubernetes and the conventions of Prefect.

Users and automations select by labels, so labels are spelt as by Prefect's worker of the server's
major version: text is transliterated (`é` becomes `e`), everything else that a label cannot hold
becomes a dash, and Prefect 2 converts to lower case. Text of which nothing would be left is not
changed: the cluster's error message is clearer than an empty label.
"""

from __future__ import annotations

_MAX_NAME = 45
"""As in Prefect: leaves space for the suffix that makes a name unique."""
_MAX_LABEL = 63
_MAX_PREFIX = 253
_EDGES = "_-."


def name_slug(text: str) -> str:
    """The text as a prefix of a job's name, maybe empty: `Hello World!` becomes `hello-world`."""
    return _slug(text, r"[^a-zA-Z0-9-]+", _MAX_NAME, keep_case=False).strip("-")


def label_value(text: str, *, keep_case: bool) -> str:
    """The text as the value of a label: `Data Eng/µ` becomes `Data-Eng-m`."""
    return _label(text, r"[^a-zA-Z0-9-_.]+", _MAX_LABEL, keep_case)


def annotation_key(text: str, *, keep_case: bool) -> str:
    """The text as the key of an annotation: `My Key/na me!` becomes `My-Key/na-me`."""
    prefix, slash, name = text.partition("/")
    if not slash:
        return label_value(text, keep_case=keep_case)
    name = label_value(name, keep_case=keep_case)
    prefix = prefix and _label(prefix, r"[^a-zA-Z0-9-.]+", _MAX_PREFIX, keep_case)
    return f"{prefix}/{name}" if prefix else name


def label_key(text: str, *, keep_case: bool) -> str:
    """The text as the key of a label: `My Key/na me!` becomes `my-key/na-me`.

    Prefect 3 keeps capitals in the prefix, which Kubernetes refuses; here the prefix is in lower
    case.
    """
    prefix, slash, name = annotation_key(text, keep_case=keep_case).rpartition("/")
    return f"{prefix.lower()}{slash}{name}"


def default_image(server_version: str) -> str:
    """The image of jobs that name none: Prefect's own, of the server's version.

    `server_version` is for example `3.8.8`, or "" where the server does not report one.
    """
    version = server_version.partition("+")[0]
    return f"prefecthq/prefect:{version}-python3.11" if version else "prefecthq/prefect:3-latest"


def _label(text: str, forbidden: str, max_length: int, keep_case: bool) -> str:
    return _slug(text, forbidden, max_length, keep_case).strip(_EDGES) or text


def _slug(text: str, forbidden: str, max_length: int, keep_case: bool) -> str:
    from slugify import slugify

    return slugify(
        text,
        lowercase=not keep_case,
        max_length=max_length,
        regex_pattern=forbidden,
        # The transliteration table takes 5 MB of memory: load it only for text that it may change.
        allow_unicode=text.isascii() and "&" not in text,
    )
