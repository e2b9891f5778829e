"""Records what a command changed as a revision of its project."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.core.diagnostics import Report
from deployctl.core.errors import DeployctlError, Interrupted
from deployctl.deploy.history import (
    Revision,
    recorded_changes,
    remove_old_revisions,
    revision_request,
)
from deployctl.deploy.model import Result

_CI_USERS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_REQUESTEDFOR", "BUILD_USER_ID")
"""Variables in which GitHub, GitLab, Azure DevOps and Jenkins name who started a job."""


def record_revision(
    project: str,
    command: str,
    commit: str,
    results: Sequence[Result],
    session: Session,
    report: Report,
    environ: Mapping[str, str],
) -> None:
    """Adds a revision if something was written, also after a signal.

    A server that refuses it, or is gone, is reported as DC562: what was deployed stays.
    """
    changes = recorded_changes(results)
    if not changes:
        return
    revision = Revision(command, author(environ), commit, changes)
    try:
        session.send(revision_request(project, revision), finish=True)
        run(remove_old_revisions(project), session)
    except Interrupted:
        pass
    except DeployctlError as error:
        report.add(
            "DC562",
            f"the history of the project '{project}' lacks this command: {error.message}",
            help="What was deployed stays.",
        )


def author(environ: Mapping[str, str]) -> str:
    """Who runs the command: the user of the CI system, else the one of the machine."""
    ci_user = next((name for key in _CI_USERS if (name := environ.get(key))), "")
    if ci_user:
        return ci_user
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in many containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
