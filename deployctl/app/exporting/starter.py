"""Finds out what a new prefect.yaml needs to know of its folder."""

from __future__ import annotations

import re
from pathlib import Path

from deployctl.clients.git import read_checkout
from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.flows.find import find_flows
from deployctl.flows.inspect import inspect_flows
from deployctl.project.starter import FolderContents


def inspect_folder(folder: Path) -> FolderContents:
    """What a folder holds: flows, a Dockerfile, a git checkout. Raises UsageError without a flow.

    The code is read, not run: flows whose names are only known when it runs are left out.
    """
    found = find_flows(folder)
    facts = inspect_flows(dict.fromkeys(found), folder, Report(), imports=False)
    if not facts:
        raise UsageError(
            f"no flow was found in '{folder}'",
            help="Run the command in the folder of the code; a flow is a function with @flow.",
        )
    checkout = read_checkout(folder)
    return FolderContents(
        re.sub(r"[/%&<>]", "-", folder.name) or "project",
        {entrypoint: each.name for entrypoint, each in facts.items()},
        has_dockerfile=(folder / "Dockerfile").is_file(),
        repository=checkout.url if checkout else "",
        branch=checkout.branch if checkout and checkout.branch != "HEAD" else "",
    )
