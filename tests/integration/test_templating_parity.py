"""Placeholders and shell steps behave as in the real Prefect, of both majors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployctl.core.progress import NullProgress
from deployctl.steps.context import StepContext
from deployctl.steps.engine import run_steps
from deployctl.steps.model import Step
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.render import Scope, render
from tests.support.environment import isolated

TEXTS = [
    "{{ a }}",
    "{{a}}",
    "{{\n\ta }}",
    "{{ a-b.c_d[0] }} and {{ $HOME }}",
    "{{ größe }}",
    "{{{ a }}}",
    "{{{{ a }}}}",
    "{{ a | upper }}",
    "{{ a b }}",
    "{{ }}",
    "{{ a",
    "{{ prefect.blocks.secret.tok.value }}",
    "{{ prefect.variables.x }}",
    "{{ prefect.variables }}",
    "{{ $A$B }}",
    "{ { a } }",
]
OUTPUTS = {
    "s": {
        "n": 1,
        "l": [{"k": "v"}, 2],
        "d": {"x": None},
        "years": {"2026": 42, "01": "padded", "-1": "negative"},
        "template": "{{ flat }}",
    },
    "flat": True,
    "1": "one",
}
VALUES: list[Any] = [
    "{{ s.n }}",
    "n={{ s.n }}, {{ flat }}",
    "{{ s.l }}",
    "{{ s.l[0].k }}",
    "{{ s.l.1 }}",
    "{{ s.d.x }}",
    "x{{ s.d }}",
    {"a": ["{{ s.n }}", {"b": "{{ flat }}"}]},
    "{{ s.l.-1 }}",
]
VALUES_SINCE_3_9: list[Any] = [
    "{{ s.years.2026 }}",
    "{{ s.years[2026] }}",
    "{{ s.years.01 }}",
    "{{ s.years.-1 }}",
    "{{ 1 }}",
    "{{ s.template }} and {{ flat }}",
]
"""Older versions take a number as an index only, and fill in placeholders within inserted text."""
SCRIPTS: list[dict[str, Any]] = [
    {"script": "echo '  a  '\n\necho b\n"},
    {"script": "echo a | cat"},
    {"script": "echo $WHO $UNSET", "expand_env_vars": True},
    {"script": "echo $WHO"},
    {"script": "echo $A", "expand_env_vars": True, "env": {"A": "5"}},
    {"script": "pwd", "directory": "/"},
    {"script": "sh -c 'echo e >&2'\necho o # not a comment"},
    {"script": "sh -c 'printf no-newline'\necho x"},
]
PREFECTS_SIDE = """
import asyncio, json, sys
from prefect.deployments.steps.utility import run_shell_script
from prefect.utilities.templating import apply_values, find_placeholders

given = json.load(sys.stdin)

async def scripts():
    return [dict(await run_shell_script(stream_output=False, **s)) for s in given["scripts"]]

answer = {
    "texts": [sorted([p.name, p.type.value] for p in find_placeholders(t)) for t in given["texts"]],
    "values": [apply_values(value, given["outputs"]) for value in given["values"]],
    "scripts": asyncio.run(scripts()),
}
print("ANSWER " + json.dumps(answer))
"""
KINDS = {
    PlaceholderKind.STEP: "standard",
    PlaceholderKind.CTX: "standard",
    PlaceholderKind.ENV: "env_var",
    PlaceholderKind.BLOCK: "block_document",
    PlaceholderKind.VARIABLE: "variable",
}


@pytest.fixture(scope="module", params=["prefect3_python", "prefect2_python"])
def prefect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the real Prefect makes of all the cases."""
    python: Path = request.getfixturevalue(request.param)
    values = VALUES + (VALUES_SINCE_3_9 if request.param == "prefect3_python" else [])
    given = {"texts": TEXTS, "values": values, "outputs": OUTPUTS, "scripts": SCRIPTS}
    done = subprocess.run(
        [python, "-c", PREFECTS_SIDE],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env=isolated(tmp_path_factory.mktemp("home"), WHO="world"),
    )
    return {"given": values, **json.loads(done.stdout.rpartition("ANSWER ")[2])}


def test_finds_the_same_placeholders(prefect: Any) -> None:
    ours = [sorted([p.name, KINDS[p.kind]] for p in placeholders(text)) for text in TEXTS]
    assert dict(zip(TEXTS, ours, strict=True)) == dict(zip(TEXTS, prefect["texts"], strict=True))


def test_renders_the_same_values(prefect: Any) -> None:
    assert [render(value, Scope(outputs=OUTPUTS)) for value in prefect["given"]] == [
        (value, []) for value in prefect["values"]
    ]


def test_scripts_have_the_same_outputs(prefect: Any, tmp_path: Path) -> None:
    environ = isolated(tmp_path, WHO="world")
    place = StepContext(tmp_path, environ, sys.executable, NullProgress().output)
    steps = [Step("prefect.deployments.steps.run_shell_script", script) for script in SCRIPTS]
    ours = [run_steps({"d": [step]}, Scope(), place, {})["d"] for step in steps]
    assert ours == prefect["scripts"]
