"""What jobs, labels and images are called, by the rules of Kubernetes and the habits of Prefect.

Users and automations select on labels, so they are spelt as Prefect's worker of the server's major
spells them: text is transliterated (`é` is `e`), anything else that a label cannot hold becomes a
dash, and Prefect 2 turns everything to lower case. Text of which nothing would be left stays as it
is: the cluster says better than an empty label what is wrong with it.
"""

from __future__ import annotations

_LONGEST_NAME = 45
"""As in Prefect: it leaves room for what makes a name unique."""
_LONGEST_LABEL = 63
_LONGEST_PREFIX = 253
_EDGES = "_-."


def name_slug(text: str) -> str:
    """The text as the beginning of a job's name: `Hello World!` is `hello-world`; may be empty."""
    return _slug(text, r"[^a-zA-Z0-9-]+", _LONGEST_NAME, keep_case=False).strip("-")


def label_value(text: str, *, keep_case: bool) -> str:
    """The text as the value of a label: `Data Eng/µ` is `Data-Eng-m`."""
    return _label(text, r"[^a-zA-Z0-9-_.]+", _LONGEST_LABEL, keep_case)


def annotation_key(text: str, *, keep_case: bool) -> str:
    """The text as the key of an annotation: `My Key/na me!` is `My-Key/na-me`."""
    prefix, slash, name = text.partition("/")
    if not slash:
        return label_value(text, keep_case=keep_case)
    name = label_value(name, keep_case=keep_case)
    prefix = prefix and _label(prefix, r"[^a-zA-Z0-9-.]+", _LONGEST_PREFIX, keep_case)
    return f"{prefix}/{name}" if prefix else name


def label_key(text: str, *, keep_case: bool) -> str:
    """The text as the key of a label: `My Key/na me!` is `my-key/na-me`.

    Prefect 3 keeps capitals in the prefix as well, and Kubernetes refuses them.
    """
    prefix, slash, name = annotation_key(text, keep_case=keep_case).rpartition("/")
    return f"{prefix.lower()}{slash}{name}"


def default_image(server_version: str) -> str:
    """The image of jobs that ask for none: Prefect's own, of the server's version.

    `server_version`: `3.8.8`; "" where the server does not say.
    """
    version = server_version.partition("+")[0]
    return f"prefecthq/prefect:{version}-python3.11" if version else "prefecthq/prefect:3-latest"


def _label(text: str, forbidden: str, longest: int, keep_case: bool) -> str:
    return _slug(text, forbidden, longest, keep_case).strip(_EDGES) or text


def _slug(text: str, forbidden: str, longest: int, keep_case: bool) -> str:
    """The table of transliterations takes 5 MB: it is loaded only for text that it may change."""
    from slugify import slugify

    return slugify(
        text,
        lowercase=not keep_case,
        max_length=longest,
        regex_pattern=forbidden,
        allow_unicode=text.isascii() and "&" not in text,
    )
