"""`prefect`, as far as the official Helm chart and container hooks call it.

The image has this as its `prefect` program, behind all others on its PATH: a real Prefect goes
before it. `python -m deployctl.cli.prefect ARGS` runs the deployctl command of the same name; any
other is an error that names the command to use instead.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import NoReturn

from deployctl.cli.exit import USAGE

_SAME = ("worker", "work-pool", "deploy")
"""Commands that deployctl has under the same name, with the same options."""
_GLOBAL_FLAGS = ("--no-prompt", "--prompt")
_VERSION = (["version"], ["--version"], ["-v"])
_INSTEAD = {
    "deployment run": "deployctl run",
    "deployment": "deployctl status",
    "flow-run logs": "deployctl logs",
    "flow-run": "deployctl status",
    "server": "deployctl dev",
    "init": "deployctl validate",
    "config": "environment variables such as PREFECT_API_URL",
    "profile": "--profile",
}


def main() -> NoReturn:
    """Runs `prefect` with the arguments of `sys.argv`, and ends the process."""
    from deployctl.cli.main import main as deployctl

    arguments = translate(sys.argv[1:])
    if isinstance(arguments, str):
        print(arguments, file=sys.stderr)
        sys.exit(USAGE)
    sys.argv[1:] = arguments
    deployctl()


def translate(arguments: Sequence[str]) -> list[str] | str:
    """The arguments of deployctl for those of prefect, or the text of an error."""
    if list(arguments) in _VERSION:
        return ["--version"]
    flags = list(takewhile(_GLOBAL_FLAGS.__contains__, arguments))
    words = list(arguments[len(flags) :])
    if words and words[0] in _SAME:
        return [*flags, *words]
    names = (" ".join(words[:2]), *words[:1])
    instead = next((_INSTEAD[name] for name in names if name in _INSTEAD), None)
    called = " ".join(["prefect", *words[:1]])
    use = f"Use {instead}, or an" if instead else "Use an"
    return (
        f"error: this image has no `{called}`: its prefect is deployctl.\n{use} image with Prefect."
    )


if __name__ == "__main__":
    main()
