"""`deployctl validate`: what can be said of the file without a server."""

from __future__ import annotations

from deployctl.cli.options import OutputOptions, SelectionOptions


def validate(choosing: SelectionOptions, telling: OutputOptions) -> None:
    """Check the file, its schedules, entrypoints and parameters, offline."""
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.cli.command import run_command
    from deployctl.cli.console import write
    from deployctl.cli.project import every_or, load_all
    from deployctl.cli.render import Format

    with run_command(
        "validate", telling.output, strict=telling.strict, show_traceback=telling.traceback
    ) as now:
        loaded = load_all(now, LoadOptions(every_or(choosing)), choosing.prefect_file)
        for each in loaded:
            each.check_parameters(now.report)
        if telling.output is Format.HUMAN and not now.hopeless:
            write([f"{now.subject}: no errors."])
