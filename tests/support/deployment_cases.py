"""Entries of `deployments:` in every form that Prefect accepts, to compare what both tools store.

A case is the YAML of one entry without the keys that `Case.entry` adds. A `Difference` is where
deployctl stores something else than `prefect deploy` on purpose; each has its row in
docs/prefect-deploy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent
from typing import Any

BOTH = (2, 3)


@dataclass(frozen=True)
class Difference:
    """A field in which deployctl differs on purpose, with what it stores and why."""

    field: str
    ours: Any
    why: str
    majors: tuple[int, ...] = BOTH
    planned: bool = True
    """Whether a plan after `prefect deploy` shows it."""


@dataclass(frozen=True)
class Case:
    """One deployment; `majors` are those whose `prefect deploy` accepts it."""

    name: str
    yaml: str
    majors: tuple[int, ...] = BOTH
    differences: tuple[Difference, ...] = ()
    deployed_as: str = ""
    """Its name on the server, if it is another."""

    @property
    def stored_name(self) -> str:
        return self.deployed_as or self.name

    @property
    def entry(self) -> str:
        """The item of the list, with a name, an entrypoint and a work pool added if missing."""
        given = dedent(self.yaml).strip()
        keys = {line.partition(":")[0] for line in given.splitlines()}
        added = {
            "name": f"name: {self.name}",
            "entrypoint": "entrypoint: flows.py:hello",
            "work_pool": "work_pool: {name: pool}",
        }
        lines = [line for key, line in added.items() if key not in keys]
        return "-\n" + indent("\n".join([*lines, given]).strip(), "  ")


FILES = {
    "flows.py": '''
        """Flows."""
        from datetime import date, datetime, timedelta
        from typing import Any, Literal, Optional

        from prefect import flow

        @flow
        def hello(name: str = "world", times: int = 1) -> None:
            """Greets."""

        @flow
        def undocumented(): ...

        @flow(name="Another Name", description="Of the decorator.", version="2.1")
        def decorated(): ...

        @flow
        def typed(
            when: Optional[date] = None,
            at: Optional[datetime] = None,
            every: timedelta = timedelta(hours=1),
            mode: Literal["a", "b"] = "a",
            *,
            items: list[int] = [],
            extra: Any = None,
        ):
            """Does it.

            Args:
                when: The day.
                mode: How to
                    do it.
            """

        @flow
        async def required(one: int, two: dict[str, float]):
            """Needs them."""

        class Jobs:
            @flow
            @staticmethod
            def nightly(day: int = 1):
                """A method."""
        ''',
    "package/__init__.py": "",
    "package/module.py": '''
        from prefect import flow

        @flow
        def inside():
            """In a package."""
        ''',
}
ENVIRON = {"STAGE": "prod", "YES": "true", "CRON": "5 4 * * *", "COUNT": "3"}
VARIABLES = {"team": "data", "number": 4, "config": {"a": [1, 2]}, "cron": "0 6 * * *"}
SECRET = "opensesame-of-the-parity-test"

SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"
SHELL = "prefect.deployments.steps.run_shell_script"
IN_THE_IMAGE = Difference(
    "pull_steps",
    [{SET_DIRECTORY: {"directory": "."}}],
    "the code is in the image's own working directory",
)
NOT_THE_TEXT_NONE = Difference(
    "description", None, "no description is none, not the text 'None'", (3,), False
)
ONE_TAG = "a text is one tag, not a tag for each of its letters"
NO_PULL = Difference(
    "pull_steps",
    [{SET_DIRECTORY: {"directory": "."}}],
    "'pull: []' fetches nothing, as in 3.x; 2.20 runs nothing without a pull step",
    (2,),
)
DAYS_COUNT = "'day_or' counts on 2.20, too"
DAY_AND_DATE = {
    "schedule": {"cron": "0 7 1 * 1", "timezone": None, "day_or": False},
    "active": True,
    "max_active_runs": None,
    "max_scheduled_runs": None,
    "catchup": False,
}

DESCRIPTIONS = [
    Case("plain", ""),
    Case(
        "as prefect init writes it",
        """
        version: null
        tags: []
        description: null
        schedule: {}
        flow_name: null
        parameters: {}
        work_pool: {name: pool, work_queue_name: null, job_variables: {}}
        """,
    ),
    Case(
        "flow without description", "entrypoint: flows.py:undocumented", BOTH, (NOT_THE_TEXT_NONE,)
    ),
    Case("description", "description: Said here."),
    Case("description null", "description: null"),
    Case(
        "description empty",
        "description: ''",
        BOTH,
        (Difference("description", "", "what the file empties is empty, whatever the flow says"),),
    ),
    Case("description of lines", "description: |\n  One.\n\n  Two – größer.\n"),
]
VERSIONS = [
    Case("version", "version: '7'"),
    Case("version as number", "version: 1.5", (2,)),
    Case("version of the flow", "entrypoint: flows.py:decorated"),
    Case("version beside the flow's", "entrypoint: flows.py:decorated\nversion: v1"),
    Case("version type", "version: '7'\nversion_type: prefect:simple", (3,)),
]
TAGS = [
    Case("tags as text", "tags: one", BOTH, (Difference("tags", ["one"], ONE_TAG),)),
    Case("tags", "tags: [b, a, 'with space']"),
    Case("tags of other types", "tags: [1, true, 1.5, 2024-01-01]", (3,)),
    Case("tags twice", "tags: [a, a]"),
    Case("tags empty", "tags: []"),
]
PARAMETERS = [
    Case("parameters", "parameters: {name: 'x', times: 2}"),
    Case("parameters empty", "parameters: {}"),
    Case(
        "parameters of types",
        """
        entrypoint: flows.py:typed
        parameters:
          mode: b
          items: [1, 2]
          extra: {a: [1.5, null, true], b: 0x1F, c: 1:30, e: off}
        """,
    ),
    Case(
        "parameters with dates",
        """
        entrypoint: flows.py:typed
        parameters:
          when: 2024-01-31
          at: 2024-01-31 10:00:00
          extra: [2024-01-31T10:00:00+08:00, 2024-01-31 10:00:00.5Z]
        """,
        (3,),
    ),
    Case(
        "required parameters", "entrypoint: flows.py:required\nparameters: {one: 1, two: {a: 1.5}}"
    ),
    Case("schema enforced", "enforce_parameter_schema: true"),
    Case("schema not enforced", "enforce_parameter_schema: false\nparameters: {times: 2}"),
    Case("schema null", "enforce_parameter_schema: null", (3,)),
]
SCHEDULES = [
    Case(
        "cron schedules",
        """
        schedules:
          - cron: 0 7 * * *
          - {cron: 0 7 * * 1-5, timezone: Asia/Taipei}
          - {cron: '@daily'}
          - {cron: 0 8 * * *, active: false}
          - {cron: 0 9 * * *, active: true}
          - {cron: '{{ $CRON }}'}
          - {cron: '{{ prefect.variables.cron }}'}
        """,
    ),
    Case(
        "cron day_or",
        "schedules: [{cron: 0 7 1 * 1, day_or: false}]",
        BOTH,
        (
            Difference("schedules", [DAY_AND_DATE], DAYS_COUNT, (2,)),
            Difference("schedule", DAY_AND_DATE["schedule"], DAYS_COUNT, (2,), False),
        ),
    ),
    Case(
        "interval schedules",
        """
        schedules:
          - interval: 3600
          - {interval: 3600, anchor_date: '2024-01-01T07:00:00+08:00', timezone: Asia/Taipei}
          - {interval: 60, anchor_date: '2024-01-01T07:00:00'}
        """,
    ),
    Case(
        "rrule schedules",
        r"""
        schedules:
          - rrule: FREQ=DAILY;BYHOUR=7;BYMINUTE=0;BYSECOND=0
          - rrule: 'RRULE:FREQ=WEEKLY;BYDAY=MO'
          - {rrule: FREQ=WEEKLY;BYDAY=MO, timezone: Asia/Taipei}
          - {rrule: "DTSTART:20240101T070000\nRRULE:FREQ=DAILY"}
        """,
    ),
    Case("minutely rrule", "schedules: [{rrule: FREQ=MINUTELY;INTERVAL=7}]"),
    Case(
        "rrule in JSON",
        """schedules: [{rrule: '{"rrule": "FREQ=DAILY", "timezone": "Asia/Taipei"}'}]""",
    ),
    Case(
        "newer schedules",
        """
        schedules:
          - {interval: 90.5, anchor_date: '2024-01-01T07:00:00+08:00'}
          - {interval: PT1H30M, anchor_date: '2024-01-01T07:00:00+08:00'}
          - {interval: '01:30:00', anchor_date: '2024-01-02T07:00:00+08:00'}
          - {interval: 3600, anchor_date: 2024-01-01 07:00:00}
          - {cron: 0 7 * * *, slug: morning}
          - {cron: 0 7 * * *, slug: again}
          - {cron: 0 7 * * *, parameters: {times: 3, name: x}}
          - {cron: 0 6 * * *, active: '{{ $YES }}'}
        """,
        (3,),
    ),
    Case("schedules empty", "schedules: []"),
    Case("schedules null", "schedules: null", (3,)),
    Case("legacy schedule", "schedule: {cron: 0 7 * * *, timezone: Asia/Taipei}"),
    Case("legacy schedule empty", "schedule: {}"),
    Case("paused", "paused: true\nschedules: [{cron: 0 7 * * *}]"),
    Case("not paused", "paused: false"),
    Case("paused as text", "paused: 'yes'", (3,)),
]
LIMITS = [
    Case("limit", "concurrency_limit: 3"),
    Case("limit as text", "concurrency_limit: '3'"),
    Case("limit null", "concurrency_limit: null"),
    Case("limit options", "concurrency_limit: {limit: 2, collision_strategy: CANCEL_NEW}"),
    Case(
        "limit grace",
        "concurrency_limit: {limit: 2, collision_strategy: ENQUEUE, grace_period_seconds: 90}",
    ),
]
POOLS = [
    Case("queue", "work_pool: {name: pool, work_queue_name: fast}"),
    Case("queue default", "work_pool: {name: pool, work_queue_name: default}"),
    Case(
        "job variables",
        """
        work_pool:
          name: kubernetes
          job_variables:
            namespace: dev
            finished_job_ttl: 300
            stream_output: false
            env: {A: b, EMPTY: ''}
            labels: {team: x}
            unknown: [1, 2.5, {a: null}]
        """,
    ),
    Case("job variables empty", "work_pool: {name: pool, job_variables: {}}"),
    Case("job variables dates", "work_pool: {name: pool, job_variables: {day: 2024-01-31}}", (3,)),
    Case(
        "image",
        "work_pool: {name: kubernetes, job_variables: {image: repo/x:1}}",
        BOTH,
        (IN_THE_IMAGE,),
    ),
    Case(
        "image and no pull",
        "work_pool: {name: kubernetes, job_variables: {image: x}}\npull: []",
        (3,),
    ),
]
PULLS = [
    Case(
        "pull",
        """
        pull:
          - prefect.deployments.steps.git_clone:
              id: clone
              repository: https://git.example/x.git
              branch: main
              access_token: '{{ prefect.blocks.secret.tok }}'
          - prefect.deployments.steps.run_shell_script:
              script: echo {{ prefect.variables.team }} {{ $UNSET }}
              directory: '{{ clone.directory }}'
        """,
    ),
    Case(
        "pull with environment",
        """
        pull:
          - prefect.deployments.steps.git_clone:
              repository: https://git.example/{{ $STAGE }}.git
              commit_sha: '{{ $STAGE }}'
              clone_directory_name: '{{ $UNSET }}-{{ $COUNT }}'
        """,
        (3,),
    ),
    Case(
        "pull with environment in 2",
        f"pull: [{{{SET_DIRECTORY}: {{directory: '/srv/{{{{ $STAGE }}}}/{{{{ $UNSET }}}}'}}}}]",
    ),
    Case("pull single", f"pull: {{{SET_DIRECTORY}: {{directory: /srv}}}}", (3,)),
    Case("pull empty", "pull: []", BOTH, (NO_PULL,)),
    Case("pull null", "pull: null"),
]
TRIGGERS = [
    Case("triggers empty", "triggers: []"),
    Case(
        "triggers",
        """
        triggers:
          - &event
            type: event
            expect: [prefect.flow-run.Completed]
            match_related: {prefect.resource.name: up}
          - expect: [a.b]
          - name: full
            description: All that it can say.
            enabled: false
            expect: [b, a]
            after: [c]
            for_each: [prefect.resource.id]
            match: {k: [v, w]}
            posture: Reactive
            threshold: 3
            within: 60
            parameters: {name: '{{ event.resource.id }}', times: 2}
            job_variables: {env: {A: b}}
            schedule_after: 30
          - {expect: [a], posture: Proactive, within: 30}
          - {expect: [a], posture: Proactive}
          - {type: compound, require: 1, within: 60, triggers: [*event, {expect: [x]}]}
          - {type: compound, require: any, triggers: [*event]}
          - {type: sequence, within: 3600, triggers: [*event, {expect: [x]}]}
          - expect: ['{{ $STAGE }}.x']
            parameters: {name: '{{ prefect.variables.team }}'}
        """,
        (3,),
    ),
]
TEMPLATES = [
    Case(
        "name from a variable",
        "name: runs {{ prefect.variables.number }} of {{ prefect.variables.team }}",
        BOTH,
        deployed_as="runs 4 of data",
    ),
    Case(
        "queue from a variable",
        "work_pool: {name: pool, work_queue_name: '{{ prefect.variables.team }}'}",
    ),
    Case("of {{ $STAGE }}", "name: of {{ $STAGE }}", BOTH, deployed_as="of prod"),
    Case(
        "environment",
        """
        description: Runs in {{ $STAGE }}.
        version: '{{ $STAGE }}-1'
        tags: ['{{ $STAGE }}', 'x-{{ $STAGE }}']
        parameters: {name: '{{ $COUNT }}'}
        work_pool:
          name: pool
          work_queue_name: '{{ $STAGE }}'
          job_variables: {env: {A: '{{ $STAGE }}'}}
        """,
    ),
    Case("environment without $", "tags: ['x-{{ STAGE }}']"),
    Case("environment in a number", "concurrency_limit: '{{ $COUNT }}'", (2,)),
    Case(
        "variables",
        """
        entrypoint: flows.py:typed
        description: Of {{ prefect.variables.team }}.
        version: v{{ prefect.variables.number }}
        tags: ['{{ prefect.variables.team }}', 'x-{{ prefect.variables.team }}']
        parameters:
          extra: {n: '{{ prefect.variables.number }}', c: '{{ prefect.variables.config }}'}
        work_pool: {name: pool, work_queue_name: '{{ prefect.variables.team }}'}
        """,
    ),
    Case(
        "variable in job variables",
        "work_pool: {name: kubernetes, job_variables: {env: {T: '{{ prefect.variables.team }}'}}}",
        BOTH,
        (
            Difference(
                "job_variables",
                {"env": {"T": "{{ prefect.variables.team }}"}},
                "the worker looks it up, so that a changed variable needs no new deploy",
                (3,),
            ),
        ),
    ),
    Case(
        "variable in a number",
        """
        work_pool:
          name: kubernetes
          job_variables: {finished_job_ttl: '{{ prefect.variables.number }}'}
        """,
        (3,),
    ),
    Case(
        "secret in job variables",
        """
        work_pool:
          name: kubernetes
          job_variables: {env: {T: '{{ prefect.blocks.secret.tok }}'}}
        """,
        BOTH,
        (
            Difference(
                "job_variables",
                {"env": {"T": "{{ prefect.blocks.secret.tok }}"}},
                "no secret is stored",
                (3,),
            ),
        ),
    ),
]
ENTRYPOINTS = [
    Case("entrypoint with a dot", "entrypoint: ./flows.py:hello"),
    Case("entrypoint module", "entrypoint: package.module:inside"),
    Case("entrypoint dotted", "entrypoint: package.module.inside", (3,)),
    Case("entrypoint path in package", "entrypoint: package/module.py:inside"),
    Case("entrypoint method", "entrypoint: flows.py:Jobs.nightly", (3,)),
    Case("flow name is ignored", "flow_name: nope"),
    Case("signature", "entrypoint: flows.py:typed"),
]
_STEP = f"{SHELL}: {{id: say, script: echo v5, stream_output: false}}"
STEPS = [
    Case(
        "outputs",
        f"""
        build:
          - {_STEP}
        push:
          - {SHELL}: {{id: again, script: 'echo {{{{ say.stdout }}}}-pushed', stream_output: false}}
        version: '{{{{ say.stdout }}}}'
        description: At {{{{ stdout }}}}.
        tags: ['x-{{{{ say.stdout }}}}']
        parameters: {{name: '{{{{ again.stdout }}}}'}}
        schedules: [{{cron: 0 7 * * *, slug: 's-{{{{ say.stdout }}}}'}}]
        work_pool:
          name: pool
          job_variables: {{image: 'repo/x:{{{{ say.stdout }}}}', env: {{V: '{{{{ stdout }}}}'}}}}
        pull:
          - {SET_DIRECTORY}: {{directory: '/srv/{{{{ say.stdout }}}}'}}
        """,
        (3,),
    ),
    Case(
        "output as list item",
        f"build: [{{{_STEP}}}]\ntags: ['{{{{ say.stdout }}}}']",
        BOTH,
        (Difference("tags", ["v5"], "a list item from a step is kept until it is known", (2,)),),
    ),
]
CASES = [
    *DESCRIPTIONS,
    *VERSIONS,
    *TAGS,
    *PARAMETERS,
    *SCHEDULES,
    *LIMITS,
    *POOLS,
    *PULLS,
    *TRIGGERS,
    *TEMPLATES,
    *ENTRYPOINTS,
]
"""Deployments of a file in which nothing is built."""

BUILT = [
    *STEPS,
    Case("inherits", "tags: ['{{ say.stdout }}-x']"),
    Case("own pull", "pull: []", BOTH, (NO_PULL,)),
    Case("null pull", "pull: null"),
    Case("no build", "build: []"),
    Case(
        "own build",
        f"build: [{{{SHELL}: {{id: say, script: echo own}}}}]\ndescription: '{{{{ say.stdout }}}}'",
    ),
    Case("build as mapping", f"build: {{{SHELL}: {{script: echo own}}}}", (3,)),
    Case(
        "tags as text with output",
        "tags: 'x-{{ say.stdout }}'",
        BOTH,
        (Difference("tags", ["x-v5"], ONE_TAG),),
    ),
]
TOP_LEVEL = f"""\
name: built
build:
  - {_STEP}
pull:
  - {SET_DIRECTORY}: {{directory: /srv/top}}
"""
"""Top-level steps, for the deployments of `BUILT`."""
