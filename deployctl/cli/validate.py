"""`deployctl validate`: what can be said of the file without a server."""

from __future__ import annotations

from deployctl.cli.options import Choosing, Telling


def validate(choosing: Choosing, telling: Telling) -> None:
    """Check the file, its schedules, entrypoints and parameters, offline."""
    from deployctl.app.load import Order
    from deployctl.cli.console import write
    from deployctl.cli.loading import load_all
    from deployctl.cli.render import Format
    from deployctl.cli.running import running
    from deployctl.project.select import Selection

    some = bool(choosing.name or choosing.entrypoint)
    selection = Selection(not some, tuple(choosing.name), choosing.entrypoint or "")
    with running(
        "validate", telling.output, strict=telling.strict, show_traceback=telling.traceback
    ) as now:
        loaded = load_all(now, Order(selection=selection), choosing.prefect_file)
        for each in loaded:
            each.check(now.report)
        if telling.output is Format.HUMAN and not now.hopeless:
            write([f"{now.subject}: no errors."])
