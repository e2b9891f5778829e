"""All keys of prefect.yaml: the table that coercion, JSON Schema and docs share.

The keys of Prefect 2.20 and 3.x, and ours: `environments` and those of `resource_keys`. What null
means where Prefect accepts it follows Prefect, but for `triggers`: empty means none.
"""

from __future__ import annotations

from dataclasses import replace

from deployctl.api.dialect import NEVER, Range
from deployctl.project import moved_keys as moved
from deployctl.project.comparisons import (
    never_differs,
    same_description,
    same_mapping,
    same_options,
    same_schedule,
    same_set,
)
from deployctl.project.environment_keys import environments
from deployctl.project.resource_keys import RESOURCE_LISTS, name_key
from deployctl.project.shapes import (
    Anything,
    Choice,
    Duration,
    Either,
    Field,
    Flag,
    Key,
    ListOf,
    Mapping_,
    MovedKey,
    Number,
    Steps,
    Table,
    Text,
)
from deployctl.project.trigger_keys import TRIGGERS, trigger_kind

LATER = ("automations",)
"""Top-level keys that are reserved for deployctl and that this version does not read."""

TIMES = Field("schedule", same=same_schedule)
"""When a schedule fires: one field, which the keys of the times make together."""
_SCHEDULE_KEYS: dict[str, Key] = {
    "cron": Key(Text(), "A cron expression: `0 7 * * *`, or an alias such as `@daily`.", TIMES),
    "interval": Key(
        Duration(positive=True),
        "Time between runs: seconds, ISO 8601 (`PT1H`) or `HH:MM:SS`.",
        TIMES,
    ),
    "rrule": Key(Text(), "An iCalendar recurrence rule: `FREQ=DAILY;BYHOUR=7`.", TIMES),
    "timezone": Key(Text(), "An IANA time zone: `Asia/Taipei`. Default: UTC.", TIMES),
    "anchor_date": Key(Text(), "The time from which intervals are counted, in ISO 8601.", TIMES),
    "day_or": Key(
        Flag(), "Whether a cron day matches by day of month or day of week (default).", TIMES
    ),
    "active": Key(
        Flag(),
        "Whether the schedule starts runs. Default: as set in the UI.",
        Field("active", default=True),
    ),
    "parameters": Key(
        Mapping_(),
        "Parameters of the runs of this schedule.",
        Field("parameters", Range((3, 2, 0)), same=same_mapping, default={}),
        null={},
        null_refused=True,
    ),
    "slug": Key(
        Text(),
        "A name of the schedule that stays when its times change.",
        Field("slug", Range((3, 2, 0))),
    ),
    "replaces": Key(
        Text(),
        "The former slug of this schedule.",
        Field("replaces", Range((3, 6, 17)), managed=False),
        since=(3, 2, 0),
    ),
    "max_scheduled_runs": Key(
        Number(minimum=1), "How many runs are made ahead.", Field("max_scheduled_runs")
    ),
}
SCHEDULE = Table(
    "schedule",
    _SCHEDULE_KEYS,
    moved={
        "time_zone": moved.rename("timezone"),
        "tz": moved.rename("timezone"),
        "is_active": moved.rename("active"),
        "is_schedule_active": moved.rename("active"),
        "paused": MovedKey("write 'active: false'"),
        "schedule": MovedKey("write its keys directly into the schedule"),
        "schedules": MovedKey("write the schedules as items of one list"),
        "name": moved.rename("slug"),
    },
    strict=True,
    saved=frozenset(
        {
            "max_scheduled_runs",
            "max_active_runs",
            "catchup",
            "id",
            "created",
            "updated",
            "deployment_id",
        }
    ),
)

LIMIT = Field("concurrency_limit", Range((3, 0, 0)))
LIMIT_OPTIONS = Field("concurrency_options", Range((3, 0, 3)), same=same_options)
CONCURRENCY = Table(
    "concurrency limit",
    {
        "limit": Key(Number(minimum=1), "Maximum number of concurrent runs.", LIMIT, required=True),
        "collision_strategy": Key(
            Text(choices=("ENQUEUE", "CANCEL_NEW")),
            "What happens to a run too many: it waits (default) or is cancelled.",
            LIMIT_OPTIONS,
        ),
        "grace_period_seconds": Key(
            Number(minimum=60, maximum=86400),
            "Seconds until a slot is taken from a run that does not start.",
            LIMIT_OPTIONS,
            since=(3, 6, 6),
        ),
    },
    strict=True,
    moved={
        "strategy": moved.rename("collision_strategy"),
        "concurrency_limit": moved.rename("limit"),
    },
)

WORK_POOL = Table(
    "work_pool",
    {
        "name": Key(
            Text(),
            "The work pool whose worker runs the deployment.",
            Field("work_pool_name", clears=Range((3, 0, 0))),
        ),
        "work_queue_name": Key(
            Text(),
            "The queue in the pool; the server creates it if need be.",
            Field("work_queue_name", default="default"),
        ),
        "job_variables": Key(
            Mapping_(),
            "Values for the variables of the pool's job template.",
            Field("job_variables", name_in_2="infra_overrides", same=same_mapping, default={}),
            null={},
            null_refused=True,
        ),
    },
    moved={
        "job_variable": moved.rename("job_variables"),
        "variables": moved.rename("job_variables"),
        "infra_overrides": moved.rename("job_variables"),
        "queue": moved.rename("work_queue_name"),
        "work_queue": moved.rename("work_queue_name"),
        "work_pool_name": moved.rename("name"),
    },
    text_is="name",
)

SLA = Table(
    "service level",
    {
        "name": Key(Text(), "Its name, once per deployment.", required=True),
        "severity": Key(
            Text(choices=("minor", "low", "moderate", "high", "critical")), "How bad a miss is."
        ),
        "enabled": Key(Flag(), "Whether it is watched."),
        "duration": Key(Number(), "Seconds that a run may take."),
        "within": Key(Duration(), "How late a run may start."),
        "stale_after": Key(Duration(), "How long no run may complete."),
    },
)


def _steps(doc: str, field: Field | None = None) -> Key:
    return Key(Steps(), doc, field, null=None)


_ACTIONS: dict[str, Key] = {
    "build": _steps("Steps that build what runs, such as an image."),
    "push": _steps("Steps that bring it to where workers find it."),
    "pull": _steps(
        "Steps by which a run fetches its code.",
        Field("pull_steps", update=Range((3, 2, 0)), same=same_mapping),
    ),
}

DEPLOYMENT = Table(
    "deployment",
    {
        "name": name_key("The deployment's name; unique for its flow."),
        "entrypoint": Key(
            Text(),
            "The flow function: `path/to/file.py:function` or `package.module:function`.",
            Field("entrypoint"),
            required=True,
        ),
        "flow_name": Key(
            Text(), "The flow's name, where the code does not give it without being run."
        ),
        "renamed_from": Key(
            Text(), "Its former name, or `FLOW/NAME`. Moves that deployment instead of leaving it."
        ),
        "description": Key(
            Text(),
            "Shown in the UI. Default: the flow's own.",
            Field("description", same=same_description),
        ),
        "version": Key(
            Text(), "Any text. Default: the commit, else the flow's own.", Field("version")
        ),
        "version_type": Key(
            Text(
                choices=(
                    "prefect:simple",
                    "vcs:git",
                    "vcs:github",
                    "vcs:gitlab",
                    "vcs:bitbucket",
                    "vcs:azuredevops",
                )
            ),
            "What kind of version it is. Default: inferred.",
        ),
        "tags": Key(
            ListOf(Text(as_python=True), single=True),
            "Tags.",
            Field("tags", same=same_set, default=[]),
            null=[],
            null_refused=True,
        ),
        "parameters": Key(
            Mapping_(),
            "Default values of the flow's parameters.",
            Field("parameters", same=same_mapping, default={}),
            null={},
            null_refused=True,
        ),
        "enforce_parameter_schema": Key(
            Flag(),
            "Whether the server checks parameters against the flow's signature.",
            Field("enforce_parameter_schema", default=True, default_in_2=False),
        ),
        "schedules": Key(
            ListOf(Either(mapping=SCHEDULE)),
            "When it runs by itself. `[]`: never; null: as on the server.",
            Field("schedules", managed=False),
            null=None,
        ),
        "schedule": Key(Either(mapping=SCHEDULE), "One schedule; the older form of `schedules`."),
        "paused": Key(
            Flag(),
            "Whether all schedules are paused. Default: as set in the UI.",
            Field("paused", default=False),
        ),
        "concurrency_limit": Key(
            Either(plain=Number(minimum=1), mapping=CONCURRENCY),
            "Maximum number of concurrent runs.",
            LIMIT,
            null=None,
        ),
        "work_pool": Key(WORK_POOL, "Which workers run it."),
        **_ACTIONS,
        "triggers": Key(
            ListOf(Choice(lambda: TRIGGERS, trigger_kind)), "Events that start a run.", null=[]
        ),
        "sla": Key(ListOf(SLA), "Service levels; Prefect Cloud only."),
    },
    fields=(
        Field("parameter_openapi_schema", update=Range((3, 2, 0)), same=same_mapping, default={}),
        Field("version_info", Range((3, 3, 6)), same=never_differs, write_only=True),
        Field("flow_id", update=NEVER, managed=False),
        Field("labels", Range((3, 1, 5)), update=NEVER, managed=False),
        Field("path", managed=False),
        Field("storage_document_id", managed=False),
        Field("global_concurrency_limit_id", Range((3, 3, 6)), managed=False),
    ),
    moved={
        "job_variables": moved.under_pool("job_variables", moved.UNDER_POOL),
        "infra_overrides": moved.under_pool("job_variables"),
        "work_queue_name": moved.under_pool("work_queue_name", moved.UNDER_POOL),
        "work_queue": moved.under_pool("work_queue_name"),
        "work_pool_name": moved.under_pool("name", "write 'work_pool: {name: …}'"),
        "pool": moved.under_pool("name", "write 'work_pool: {name: …}'"),
        "is_paused": moved.rename("paused"),
        "is_schedule_active": MovedKey("write 'active' in the schedule, or 'paused' here"),
        "active": MovedKey("write 'active' in the schedule, or 'paused' here"),
        "timezone": moved.in_schedule("timezone"),
        "time_zone": moved.in_schedule("timezone", "write 'timezone' in the schedule"),
        "cron": moved.as_schedule("cron"),
        "interval": moved.as_schedule("interval"),
        "rrule": moved.as_schedule("rrule"),
        "anchor_date": moved.in_schedule("anchor_date"),
        "collision_strategy": moved.LIMIT_WITH_STRATEGY,
        "concurrency_options": moved.LIMIT_WITH_STRATEGY,
        "pull_steps": moved.rename("pull"),
        "retries": moved.IN_DECORATOR,
        "retry_delay_seconds": moved.IN_DECORATOR,
        "image": moved.in_job_variables("image"),
        "env": moved.in_job_variables("env"),
        "working_dir": moved.in_job_variables("working_dir"),
    },
)

_BELOW = ("work_pool", "schedules", "schedule", "parameters", "entrypoint", "tags")
"""Keys of a deployment that are found at the top of files."""
TOP_LEVEL = Table(
    "file",
    {
        "name": Key(Text(), "The project's name. Default: the folder's."),
        "prefect-version": Key(Text(), "The version of Prefect that the project is for."),
        **_ACTIONS,
        "deployments": Key(
            ListOf(DEPLOYMENT), "The deployments of the project.", null=[], null_refused=True
        ),
        **RESOURCE_LISTS,
        "environments": environments(DEPLOYMENT),
        **{name: Key(Anything(), "Reserved for later versions of deployctl.") for name in LATER},
    },
    moved={
        "deployment": MovedKey("write 'deployments', with a list below it", ("deployments",)),
        **{name: moved.in_deployment(name) for name in _BELOW},
        "prefect_version": moved.rename("prefect-version"),
        "global_concurrency_limits": moved.rename("concurrency_limits"),
    },
    free=True,
)

AROUND_DEPLOYMENTS = replace(
    TOP_LEVEL,
    keys={
        **TOP_LEVEL.keys,
        "deployments": replace(TOP_LEVEL.keys["deployments"], shape=ListOf(Anything())),
        "environments": Key(Anything(), ""),
    },
)
"""The file with any deployments; their entries are coerced one by one."""
