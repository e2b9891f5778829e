"""Plan files: `plan --out` writes what was approved, `deploy --plan` applies only that.

A plan file holds the plan as `--output json` shows it, and a digest of the plan with all values. A
deploy makes the plan again and compares; it takes nothing to write from the file. So the file holds
no secret, and a changed file deploys nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.cli.context import CommandContext
from deployctl.cli.render.json import render
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.suggest import shortened
from deployctl.deploy.model import kind_name
from deployctl.deploy.plan import UNDECLARED, parts_of
from deployctl.templating.values import Unknown

_FORMAT = 1
_SHOWN = 3
"""Resources that a message names."""


class InvalidPlanFile(DeployctlError):
    """The file of `--plan` cannot be read, or is not one of `plan --out`."""

    code = "DC561"


class StalePlan(DeployctlError):
    """A deploy would do something else than the file of `--plan` says."""

    code = "DC560"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """An approved plan."""

    path: Path
    server: str
    """The URL of the API that it was made for."""
    run_steps: bool
    """Whether shell steps ran for it."""
    salt: bytes
    digest: bytes
    changes: dict[tuple[str, str], Json]
    """Kind and name → the change as it is shown."""


def write_plan_file(path: Path, ctx: CommandContext, *, run_steps: bool) -> None:
    """Writes the plan of the context. Raises DeployctlError if the file cannot be written."""
    salt = secrets.token_bytes(16)
    approval = {
        "format": _FORMAT,
        "server": _server(ctx),
        "run_steps": run_steps,
        "salt": salt.hex(),
        "digest": _digest(ctx, salt).hex(),
    }
    text = render(replace(ctx.summarize(), data={**ctx.data, "approval": approval}))
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise DeployctlError(f"cannot write '{path}': {error.strerror}") from error


def read_plan_file(path: Path) -> PlanFile:
    """Reads a plan file. Raises InvalidPlanFile."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        approval = data["approval"]
        if approval["format"] != _FORMAT:
            raise InvalidPlanFile(
                f"'{path}' was written by a newer deployctl", help="Upgrade deployctl."
            )
        return PlanFile(
            path,
            str(approval["server"]),
            bool(approval["run_steps"]),
            bytes.fromhex(approval["salt"]),
            bytes.fromhex(approval["digest"]),
            _changes(data),
        )
    except OSError as error:
        raise InvalidPlanFile(f"cannot read '{path}': {error.strerror}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidPlanFile(
            f"'{path}' is not a plan file",
            help="Write it with `deployctl plan --out FILE`.",
        ) from error


def check_plan_file(approved: PlanFile, ctx: CommandContext) -> Callable[[], None]:
    """Raises StalePlan unless the plan of the context is the approved one.

    Returns a check for later, when builds have ended and the project is locked: it raises StalePlan
    if the plan of the context is then more than that plan, with what was unknown known.
    """
    if _server(ctx) != approved.server:
        raise StalePlan(
            f"the plan in '{approved.path}' was made for {approved.server}, and this is "
            f"{_server(ctx)}",
            help="Connect to that server, or make a plan for this one.",
        )
    assert ctx.plan is not None
    if not hmac.compare_digest(_digest(ctx, approved.salt), approved.digest):
        names = list(_differences(approved, json.loads(render(ctx.summarize()))))
        raise _stale(approved, names or ["a value that is not shown differs"])
    parts = parts_of(ctx.plan)
    unknown = {part[:-1] for part in parts if str(Unknown("", "")) in part[-1]}

    def check() -> None:
        """The check for later."""
        assert ctx.plan is not None
        new = {part for part in parts_of(ctx.plan) - parts if part[:-1] not in unknown}
        if names := sorted(
            {f"{kind_name(kind)} {name}" for kind, name, what, *_ in new if what != UNDECLARED}
        ):
            raise _stale(approved, names)

    return check


def _stale(approved: PlanFile, names: Sequence[str]) -> StalePlan:
    return StalePlan(
        f"the plan in '{approved.path}' is not what this deploy would do: "
        f"{shortened(names, _SHOWN)}",
        help="Nothing was written. The server, the files or the options are not those of the "
        "plan: make a new one with `deployctl plan --out FILE`.",
    )


def _digest(ctx: CommandContext, salt: bytes) -> bytes:
    """A digest from which no value can be guessed in reasonable time."""
    assert ctx.plan is not None
    text = json.dumps(sorted(parts_of(ctx.plan)))
    return hashlib.scrypt(text.encode(), salt=salt, n=2**14, r=8, p=1)


def _server(ctx: CommandContext) -> str:
    """The URL of the API, without its version."""
    return ctx.target.partition(" ")[0]


def _changes(document: Json) -> dict[tuple[str, str], Json]:
    """Kind and name → the change, without notes: they tell of what happens on the server."""
    return {
        (each["kind"], each["name"]): {k: v for k, v in each.items() if k != "notes"}
        for each in document["changes"]
        if each["op"] != "none"
    }


def _differences(approved: PlanFile, document: Json) -> Iterator[str]:
    """The resources whose changes are not the approved ones."""
    now = _changes(document)
    for key in sorted(now.keys() | approved.changes.keys()):
        was, is_ = approved.changes.get(key), now.get(key)
        name = f"{kind_name(key[0])} {key[1]}"
        if was is None and is_ is not None:
            yield f"{name} ({is_['op']} is not in the plan)"
        elif is_ is None and was is not None:
            yield f"{name} ({was['op']} is not needed any more)"
        elif was != is_:
            yield f"{name} ({is_['op']} differs)"  # type: ignore[index]
