"""Shell syntax in scripts that no shell runs."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.steps.model import Step
from deployctl.steps.shell_syntax import check_scripts

SHELL = "prefect.deployments.steps.run_shell_script"


def warnings(script: str, **inputs: Any) -> list[tuple[str, str]]:
    step = Step(SHELL, {"script": script, **inputs}, path=("build", 0))
    found = list(check_scripts([step]))
    assert all(each.path == ("build", 0, SHELL, "script") for each in found)
    return [(each.message.partition("contain ")[2], each.help or "") for each in found]


@pytest.mark.parametrize(
    ("script", "constructs"),
    [
        ("a | b", "'|'"),
        ("a && b || c", "'&&', '||'"),
        ("a > b\na >>b\na 2>&1", "'>', '>>', '2>&1'"),
        ("a < b", "'<'"),
        ("a; b ; c", "';'"),
        ("a &", "'&'"),
        ("echo $X ${Y}", "'$X', '${Y}'"),
        ('echo "$X"', "'$X'"),
        ("echo $(date) `date`", "'$(', '`'"),
        ("cd src\nmake", "'cd'"),
        ("  export A=1", "'export'"),
    ],
)
def test_warns_of_shell_syntax(script: str, constructs: str) -> None:
    ((found, _),) = warnings(script)
    assert found == constructs
    assert warnings(script, shell=True) == []


@pytest.mark.parametrize(
    "script",
    [
        "make",
        "pip install a>=1 'b<2' \"c|d\"",
        "echo '$X' \\$X '|' \"a && b\"",
        "awk '{print $1}' f",
        "curl http://a/?b=1&c=2",
        "grep -E a|b f",
        "echo {{ $X }} {{ a.b }}",
        "git rev-parse HEAD",
        "echo it\\'s",
        "cdrecord x",
        "set-version 1",
    ],
)
def test_accepts_what_a_program_gets_as_it_is_meant(script: str) -> None:
    assert warnings(script) == []


def test_variables_can_be_expanded() -> None:
    ((_, help_),) = warnings("echo ${X}")
    assert help_ == "Write {{ $X }}, or `expand_env_vars: true` below 'script'."
    assert warnings("echo ${X}", expand_env_vars=True) == []
    ((found, help_),) = warnings("echo $X | cat", expand_env_vars=True)
    assert (found, "shell: true" in help_) == ("'|'", True)


def test_other_steps_are_not_checked() -> None:
    assert list(check_scripts([Step("my.module.step", {"script": "a | b"})])) == []
