"""Warns of shell syntax in scripts that no shell runs.

`run_shell_script` starts each line as a program, unless `shell: true` is set. A pipe then is one
more argument of the program, a variable keeps its dollar sign, and `cd` is a program that does not
exist. Prefect does the same, on the worker as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deployctl.core.suggest import quoted
from deployctl.steps.catalog import builtin_step
from deployctl.steps.model import Step
from deployctl.templating.grammar import placeholders
from deployctl.templating.problems import Problem

_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*\"""")
_OPERATOR = re.compile(r"(?<!\S)(?:\d?>>?(?:&\d)?|<<?|\|\|?|&&?|;)|;(?!\S)")
"""At the beginning of a word, as in `> file` and `>file`; `pip install a>=1` has none."""
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})")
_SUBSTITUTION = re.compile(r"\$\(|`")
_BUILTIN = re.compile(r"\s*(cd|export|source|set|unset|alias|\.)\s")
_IN_FILE = "put the script into a file and run that"


def check_scripts(steps: Iterable[Step]) -> Iterator[Problem]:
    """Lines of shell steps that only a shell would run as they are written (DC323)."""
    for step in steps:
        script = step.inputs.get("script")
        if builtin_step(step) is None or not isinstance(script, str) or step.inputs.get("shell"):
            continue
        expands = bool(step.inputs.get("expand_env_vars"))
        found = list(dict.fromkeys(_constructs(script, expands=expands)))
        if found:
            variables = all(_VARIABLE.fullmatch(each) for each in found)
            message = f"no shell runs this script, so it cannot contain {quoted(found)}"
            name = found[0].strip("${}")
            help_ = f"Write `shell: true` below 'script' (Prefect 3.6 and later), or {_IN_FILE}."
            if variables:
                help_ = f"Write {{{{ ${name} }}}}, or `expand_env_vars: true` below 'script'."
            path = (*step.path, step.function, "script")
            yield Problem(path, "DC323", message, help_)


def _constructs(script: str, *, expands: bool) -> Iterator[str]:
    """The operators, variables and commands of a shell in a script, as they are written."""
    for placeholder in placeholders(script):
        script = script.replace(str(placeholder), "x")
    for line in script.splitlines():
        bare = _QUOTED.sub(lambda found: "x" * len(found[0]), line)
        in_double = _QUOTED.sub(lambda found: found[0] if found[0][0] == '"' else "x", line)
        if found := _BUILTIN.match(bare):
            yield found[1]
        yield from (each[0] for each in _OPERATOR.finditer(bare))
        yield from (each[0] for each in _SUBSTITUTION.finditer(in_double))
        if not expands:
            yield from (each[0] for each in _VARIABLE.finditer(in_double))
