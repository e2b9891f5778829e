"""Public words of the JSON output and the plan, written out.

They are a public interface. Renaming an enum member or changing its value must not change them.
"""

from __future__ import annotations

from deployctl.core.diagnostics import Severity
from deployctl.deploy.model import Op, ResultStatus

OPS = {
    Op.CREATE: "create",
    Op.UPDATE: "update",
    Op.DELETE: "delete",
    Op.NONE: "none",
}
STATUSES = {
    ResultStatus.APPLIED: "applied",
    ResultStatus.UNCHANGED: "unchanged",
    ResultStatus.SKIPPED: "skipped",
    ResultStatus.FAILED: "failed",
}
SEVERITIES = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "note",
}
GITHUB_LEVELS = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "notice",
}
