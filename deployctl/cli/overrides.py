"""The options that override the file, as values."""

from __future__ import annotations

from deployctl.cli.project_options import OverrideOptions
from deployctl.project import overrides


def parse_overrides(options: OverrideOptions) -> overrides.Overrides:
    """What the options say. Raises UsageError for one that is not valid."""
    parameters = overrides.parse_assignments("--param", options.param)
    if options.params:
        parameters |= overrides.parse_json_object("--params", options.params)
    return overrides.Overrides(
        description=options.description,
        version=options.version,
        version_type=options.version_type,
        tags=tuple(options.tag),
        concurrency_limit=options.concurrency_limit,
        collision_strategy=options.collision_strategy,
        work_pool=options.pool,
        work_queue=options.work_queue,
        job_variables=overrides.parse_assignments("--job-variable", options.job_variable),
        schedules=overrides.schedules(options.cron, options.interval, options.rrule),
        timezone=options.timezone,
        anchor_date=options.anchor_date,
        triggers=overrides.parse_definitions("--trigger", options.trigger, "triggers"),
        parameters=parameters,
        sla=overrides.parse_definitions("--sla", options.sla, "sla"),
        enforce_parameter_schema=options.enforce_parameter_schema,
    )
