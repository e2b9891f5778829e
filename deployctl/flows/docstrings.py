"""Descriptions of parameters, from the Google-style docstring of a flow.

Prefect parses docstrings with griffe, and so does this module. Importing griffe takes about 0.1 s,
so it is imported only for a docstring that has a heading of a parameter section.
"""

from __future__ import annotations

import logging
import re

_PARAMETER_HEADING = re.compile(r"^\s*(args|arguments|params|parameters):", re.I | re.M)


def parameter_descriptions(docstring: str | None) -> dict[str, str]:
    """Returns the description of each parameter; of several parameter sections the last counts."""
    if docstring is None or not _PARAMETER_HEADING.search(docstring):
        return {}
    from griffe import Docstring, DocstringSectionKind, Parser

    logging.getLogger("griffe").disabled = True  # its warnings about style go to stderr
    descriptions: dict[str, str] = {}
    for section in Docstring(docstring).parse(Parser.google):
        if section.kind is DocstringSectionKind.parameters:
            descriptions = {item.name: item.description for item in section.value}
    return descriptions
