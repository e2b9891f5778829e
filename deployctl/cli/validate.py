"""`deployctl validate`: what can be said of the file without a server."""

from __future__ import annotations

from deployctl.cli.options import Choosing, Telling


def validate(choosing: Choosing, telling: Telling) -> None:
    """Check the file, its schedules, entrypoints and parameters, offline."""
    from deployctl.app.load import Order
    from deployctl.cli.console import write
    from deployctl.cli.loading import every_or, load_all
    from deployctl.cli.render import Format
    from deployctl.cli.running import running

    with running(
        "validate", telling.output, strict=telling.strict, show_traceback=telling.traceback
    ) as now:
        loaded = load_all(now, Order(every_or(choosing)), choosing.prefect_file)
        for each in loaded:
            each.check(now.report)
        if telling.output is Format.HUMAN and not now.hopeless:
            write([f"{now.subject}: no errors."])
