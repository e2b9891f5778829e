"""Every key of prefect.yaml: the one table that the reader, the editor schema and the docs share.

The keys of Prefect 2.20 and 3.x, and of ours `work_pools`. What null means where Prefect accepts
it follows Prefect, but for `schedules` and `triggers`: empty means none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deployctl.core.json_values import Json
from deployctl.project.shapes import (
    Anything,
    Choice,
    Duration,
    Either,
    Flag,
    Key,
    ListOf,
    Mapping_,
    Number,
    Steps,
    Table,
    Text,
)

NAME = Text(forbidden="/%&><")
LATER = ("variables", "global_concurrency_limits", "automations", "environments")
"""Top-level keys that are kept free for deployctl and that this version does not read."""

_UNDER_POOL = "it belongs one level down, under 'work_pool'"

_SCHEDULE_KEYS: dict[str, Key] = {
    "cron": Key(Text(), "A cron line: `0 7 * * *`, or an alias such as `@daily`."),
    "interval": Key(
        Duration(positive=True),
        "Time between runs: seconds, ISO 8601 (`PT1H`) or `HH:MM:SS`.",
    ),
    "rrule": Key(Text(), "An iCalendar recurrence rule: `FREQ=DAILY;BYHOUR=7`."),
    "timezone": Key(Text(), "An IANA time zone: `Asia/Taipei`. Default: UTC."),
    "anchor_date": Key(Text(), "The moment from which intervals are counted, in ISO 8601."),
    "day_or": Key(Flag(), "Whether a cron day matches by day of month or day of week (default)."),
    "active": Key(Flag(), "Whether the schedule makes runs. Unsaid, it belongs to the UI."),
    "parameters": Key(
        Mapping_(), "Parameters of the runs of this schedule.", null={}, null_refused=True
    ),
    "slug": Key(Text(), "A name of the schedule that stays when its times change."),
    "replaces": Key(Text(), "The former slug of this schedule."),
    "max_scheduled_runs": Key(Number(minimum=1), "How many runs are made ahead."),
}
SCHEDULE = Table(
    "schedule",
    _SCHEDULE_KEYS,
    moved={
        "time_zone": "write 'timezone'",
        "tz": "write 'timezone'",
        "is_active": "write 'active'",
        "is_schedule_active": "write 'active'",
        "paused": "write 'active: false'",
        "schedule": "write its keys directly into the schedule",
        "schedules": "write the schedules as items of one list",
        "name": "write 'slug'",
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

CONCURRENCY = Table(
    "concurrency limit",
    {
        "limit": Key(Number(minimum=1), "How many runs may be under way at once.", required=True),
        "collision_strategy": Key(
            Text(choices=("ENQUEUE", "CANCEL_NEW")),
            "What happens to a run too many: it waits (default) or is cancelled.",
        ),
        "grace_period_seconds": Key(
            Number(minimum=60, maximum=86400),
            "Seconds until a slot is taken from a run that does not start.",
        ),
    },
    strict=True,
    moved={"strategy": "write 'collision_strategy'", "concurrency_limit": "write 'limit'"},
)

WORK_POOL = Table(
    "work_pool",
    {
        "name": Key(Text(), "The work pool whose worker runs the deployment."),
        "work_queue_name": Key(Text(), "The queue in the pool; the server creates it if need be."),
        "job_variables": Key(
            Mapping_(),
            "Values for the variables of the pool's job template.",
            null={},
            null_refused=True,
        ),
    },
    moved={
        "job_variable": "write 'job_variables'",
        "variables": "write 'job_variables'",
        "infra_overrides": "write 'job_variables'",
        "queue": "write 'work_queue_name'",
        "work_queue": "write 'work_queue_name'",
        "work_pool_name": "write 'name'",
    },
    text_is="name",
)

_LABELS = Either(mapping=Mapping_())
_RESOURCE_KEYS: dict[str, Key] = {
    "match": Key(_LABELS, "Labels of the resource that the event is about.", null_refused=True),
    "match_related": Key(
        Either(mapping=Mapping_(), many=ListOf(Mapping_())),
        "Labels of related resources.",
        null_refused=True,
    ),
}
_AUTOMATION_KEYS: dict[str, Key] = {
    "name": Key(Text(), "The automation's name."),
    "description": Key(Text(), "What the automation is for.", null="", null_refused=True),
    "enabled": Key(Flag(), "Whether the automation is evaluated.", null_refused=True),
    "parameters": Key(Mapping_(), "Parameters of the run; may hold templates of the event."),
    "job_variables": Key(Mapping_(), "Job variables of the run."),
    "schedule_after": Key(Duration(), "How long to wait before the run.", null_refused=True),
}
_EVENTS = ListOf(Text(), single=True, single_refused=True, unique=True)


def _trigger(name: str, keys: Mapping[str, Key]) -> Table:
    kind = Key(Text(choices=(name,)), "The kind of trigger.")
    return Table(f"inner {name} trigger", {"type": kind, **keys})


_EVENT = _trigger(
    "event",
    {
        **_RESOURCE_KEYS,
        "after": Key(_EVENTS, "Events that must be seen first.", null_refused=True),
        "expect": Key(_EVENTS, "The events that fire it: `prefect.flow-run.Failed`.", null=[]),
        "for_each": Key(_EVENTS, "Labels for each value of which it fires.", null_refused=True),
        "posture": Key(
            Text(choices=("Reactive", "Proactive")),
            "Whether it fires on the presence or the absence of events.",
        ),
        "threshold": Key(Number(), "How many events it takes.", null_refused=True),
        "within": Key(Duration(), "The time in which they must come.", null_refused=True),
    },
)
_METRIC = _trigger(
    "metric",
    {
        **_RESOURCE_KEYS,
        "posture": Key(Text(choices=("Metric",)), "Always `Metric`."),
        "metric": Key(
            Table(
                "metric",
                {
                    "name": Key(
                        Text(choices=("lateness", "duration", "successes")),
                        "What is measured.",
                        required=True,
                    ),
                    "threshold": Key(Number(whole=False), "The value to compare.", required=True),
                    "operator": Key(
                        Text(choices=("<", "<=", ">", ">=")), "How to compare.", required=True
                    ),
                    "range": Key(Duration(minimum=300), "The time looked back.", null_refused=True),
                    "firing_for": Key(
                        Duration(minimum=300), "How long it must hold.", null_refused=True
                    ),
                },
            ),
            "The query that is evaluated.",
            required=True,
        ),
    },
)


def trigger_kind(trigger: Mapping[str, Json]) -> str:
    """The kind of a trigger; where it is not said, what its other keys give away."""
    if isinstance(trigger.get("type"), str):
        return str(trigger["type"])
    if trigger.get("posture") == "Metric":
        return "metric"
    if "triggers" in trigger:
        return "compound" if "require" in trigger else "sequence"
    return "event"


INNER_TRIGGERS: dict[str, Table] = {"event": _EVENT, "metric": _METRIC}
_INNER = Choice(lambda: INNER_TRIGGERS, trigger_kind)
_COMPOSITE_KEYS: dict[str, Key] = {
    "triggers": Key(ListOf(_INNER), "The triggers that it is made of.", required=True),
    "within": Key(Duration(), "The time in which they must fire."),
}
INNER_TRIGGERS["compound"] = _trigger(
    "compound",
    {
        **_COMPOSITE_KEYS,
        "require": Key(Anything(), "How many must fire: `any`, `all` or a number.", required=True),
    },
)
INNER_TRIGGERS["sequence"] = _trigger("sequence", _COMPOSITE_KEYS)
TRIGGERS: dict[str, Table] = {
    name: Table(
        f"{name} trigger",
        {**table.keys, **_AUTOMATION_KEYS},
        moved={"expects": "write 'expect'", "actions": "the action is to run this deployment"},
        strict=True,
    )
    for name, table in INNER_TRIGGERS.items()
}

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


def _steps(doc: str) -> Key:
    return Key(Steps(), doc, null=None)


_ACTIONS: dict[str, Key] = {
    "build": _steps("Steps that build what runs, such as an image."),
    "push": _steps("Steps that bring it to where workers find it."),
    "pull": _steps("Steps by which a run fetches its code."),
}

DEPLOYMENT = Table(
    "deployment",
    {
        "name": Key(NAME, "The deployment's name; unique for its flow.", required=True),
        "entrypoint": Key(
            Text(), "Where the flow stands: `path/to/file.py:function`.", required=True
        ),
        "flow_name": Key(Text(), "Not used: the flow's own name holds."),
        "description": Key(Text(), "Shown in the UI. Default: the flow's own."),
        "version": Key(Text(), "Any text. Default: the commit, else the flow's own."),
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
        "tags": Key(ListOf(Text(as_python=True), single=True), "Tags.", null=[], null_refused=True),
        "parameters": Key(
            Mapping_(), "Default values of the flow's parameters.", null={}, null_refused=True
        ),
        "enforce_parameter_schema": Key(
            Flag(), "Whether the server checks parameters against the flow's signature."
        ),
        "schedules": Key(
            ListOf(Either(mapping=SCHEDULE)), "When it runs by itself. `[]`: never.", null=[]
        ),
        "schedule": Key(Either(mapping=SCHEDULE), "One schedule; the older form of `schedules`."),
        "paused": Key(Flag(), "Whether all schedules rest. Unsaid, it belongs to the UI."),
        "concurrency_limit": Key(
            Either(plain=Number(minimum=1), mapping=CONCURRENCY),
            "How many runs may be under way at once.",
            null=None,
        ),
        "work_pool": Key(WORK_POOL, "Which workers run it."),
        **_ACTIONS,
        "triggers": Key(
            ListOf(Choice(lambda: TRIGGERS, trigger_kind)), "Events that start a run.", null=[]
        ),
        "sla": Key(ListOf(SLA), "Service levels; Prefect Cloud only."),
    },
    moved={
        "job_variables": _UNDER_POOL,
        "infra_overrides": "write 'job_variables' under 'work_pool'",
        "work_queue_name": _UNDER_POOL,
        "work_queue": "write 'work_queue_name' under 'work_pool'",
        "work_pool_name": "write 'work_pool: {name: …}'",
        "is_paused": "write 'paused'",
        "is_schedule_active": "write 'active' in the schedule, or 'paused' here",
        "active": "write 'active' in the schedule, or 'paused' here",
        "timezone": "it belongs into the schedule",
        "time_zone": "write 'timezone' in the schedule",
        "cron": "it belongs under 'schedules', as '- cron: …'",
        "interval": "it belongs under 'schedules', as '- interval: …'",
        "rrule": "it belongs under 'schedules', as '- rrule: …'",
        "anchor_date": "it belongs into the schedule",
        "collision_strategy": "write 'concurrency_limit: {limit: …, collision_strategy: …}'",
        "concurrency_options": "write 'concurrency_limit: {limit: …, collision_strategy: …}'",
        "pull_steps": "write 'pull'",
        "retries": "write it into the flow's decorator",
        "retry_delay_seconds": "write it into the flow's decorator",
        "image": "write it under 'work_pool', in 'job_variables'",
        "env": "write it under 'work_pool', in 'job_variables'",
    },
)

_QUEUE = Table(
    "work queue",
    {
        "name": Key(NAME, "The queue's name.", required=True),
        "description": Key(Text(), "Shown in the UI.", null=""),
        "priority": Key(Number(minimum=1), "1 is served first."),
        "concurrency_limit": Key(Number(minimum=0), "Runs at once from this queue.", null=None),
        "paused": Key(Flag(), "Whether the queue rests."),
    },
    moved={"is_paused": "write 'paused'"},
    text_is="name",
)
POOL = Table(
    "work pool",
    {
        "name": Key(NAME, "The pool's name.", required=True),
        "type": Key(Text(), "`kubernetes`, `docker`, `process`, …", required=True),
        "base_job_template": Key(
            Either(plain=Text(), mapping=Mapping_()),
            "The template of its jobs, or the path of a JSON file that holds it.",
        ),
        "description": Key(Text(), "Shown in the UI.", null=None),
        "concurrency_limit": Key(Number(minimum=0), "Runs at once in this pool.", null=None),
        "paused": Key(Flag(), "Whether the pool rests."),
        "queues": Key(ListOf(_QUEUE), "Queues that it should have."),
    },
    moved={"is_paused": "write 'paused'", "work_queues": "write 'queues'"},
)

TOP_LEVEL = Table(
    "file",
    {
        "name": Key(Text(), "The project's name. Default: the folder's."),
        "prefect-version": Key(Text(), "The version of Prefect that the project is for."),
        **_ACTIONS,
        "deployments": Key(
            ListOf(DEPLOYMENT), "The deployments of the project.", null=[], null_refused=True
        ),
        "work_pools": Key(
            ListOf(POOL), "Work pools that deployctl creates and keeps as they are here.", null=[]
        ),
        **{name: Key(Anything(), "Kept for later versions of deployctl.") for name in LATER},
    },
    moved={
        "deployment": "write 'deployments', with a list below it",
        "work_pool": "it belongs into a deployment",
        "schedules": "it belongs into a deployment",
        "schedule": "it belongs into a deployment",
        "parameters": "it belongs into a deployment",
        "entrypoint": "it belongs into a deployment",
        "tags": "it belongs into a deployment",
        "prefect_version": "write 'prefect-version'",
    },
    free=True,
)


AROUND_DEPLOYMENTS = replace(
    TOP_LEVEL,
    keys={
        **TOP_LEVEL.keys,
        "deployments": replace(TOP_LEVEL.keys["deployments"], shape=ListOf(Anything())),
    },
)
"""The file, whatever its deployments are: those are read one by one."""
