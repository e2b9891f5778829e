"""Output of `deployctl doctor`: the checks by area, with the fix below each failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from deployctl.app.doctor.model import Check, CheckStatus
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

_STYLES = {CheckStatus.OK: "green", CheckStatus.FAILED: "bold red", CheckStatus.SKIPPED: "dim"}
_WIDTH = max(len(status) for status in CheckStatus)


def doctor(checks: Sequence[Check]) -> Iterator[Text]:
    """One line for each check, and a summary."""
    for area, own in groupby(checks, key=lambda check: check.area):
        yield Text(area.value, style="bold")
        for check in own:
            yield from _check(check)
        yield Text()
    yield Text(_summary(checks))


def doctor_json(checks: Sequence[Check]) -> dict[str, Json]:
    """The keys of the JSON output."""
    counts = Counter(check.status for check in checks)
    return {
        "checks": [
            {
                "area": check.area.value,
                "name": redact(check.name),
                "status": check.status.value,
                "cause": redact(check.cause),
                "fix": redact(check.fix) or None,
            }
            for check in checks
        ],
        "summary": {status.value: counts[status] for status in CheckStatus},
    }


def _check(check: Check) -> Iterator[Text]:
    line = Text(f"  {check.status.value:<{_WIDTH}}", style=_STYLES[check.status])
    text = f"  {check.name}" + (f": {check.cause}" if check.cause else "")
    yield line.append(redact(text), style="none")
    if check.fix and check.status is CheckStatus.FAILED:
        yield Text(f"  {'':<{_WIDTH}}    fix: {redact(check.fix)}")


def _summary(checks: Sequence[Check]) -> str:
    counts = Counter(check.status for check in checks)
    return ", ".join(f"{counts[status]} {status.value}" for status in CheckStatus)
