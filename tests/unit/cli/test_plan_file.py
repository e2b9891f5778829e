from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.cli.console import ProgressReporter
from deployctl.cli.context import CommandContext
from deployctl.cli.options import OutputFormat
from deployctl.cli.plan_file import check_plan_file, read_plan_file, write_plan_file
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, FieldChange, Op, Plan, Resource
from deployctl.templating.values import Unknown

SERVER = "http://127.0.0.1:4200/api"


def change(new: Json = "1", op: Op = Op.UPDATE, field: str = "version") -> Change:
    return Change("deployment", ("etl", "daily"), op, fields=(FieldChange(field, "0", new),))


def context(*changes: Change, server: str = SERVER) -> CommandContext:
    ctx = CommandContext("plan", OutputFormat.HUMAN, False, ProgressReporter(quiet=True))
    ctx.plan, ctx.target = Plan(changes), f"{server} (Prefect 3.9.1)"
    return ctx


def written(path: Path, *changes: Change) -> Path:
    write_plan_file(path, context(*changes), run_steps=False)
    return path


@pytest.mark.parametrize("changes", [(), (change(),), (change(Unknown("build", "image")),)])
def test_equal_plan_is_accepted(tmp_path: Path, changes: tuple[Change, ...]) -> None:
    approved = read_plan_file(written(tmp_path / "plan.json", *changes))
    check_plan_file(approved, context(*changes))


def test_notes_and_unchanged_resources_are_no_part_of_the_approval(tmp_path: Path) -> None:
    noted = replace(change(), notes=("3 runs wait",))
    approved = read_plan_file(written(tmp_path / "plan.json", change()))
    check_plan_file(approved, context(noted, Change("work_pool", ("k8s",), Op.NONE)))


@pytest.mark.parametrize(
    ("planned", "now", "message"),
    [
        ([change()], [change("2")], r"deployment etl/daily \(update differs\)"),
        ([change()], [], r"deployment etl/daily \(update is not needed any more\)"),
        ([], [change(op=Op.DELETE)], r"deployment etl/daily \(delete is not in the plan\)"),
        (
            [change("s3cr3t-one", field="api_key")],
            [change("s3cr3t-two", field="api_key")],
            "a value that is not shown differs",
        ),
    ],
)
def test_other_plan_is_refused(
    tmp_path: Path, planned: list[Change], now: list[Change], message: str
) -> None:
    approved = read_plan_file(written(tmp_path / "plan.json", *planned))
    with pytest.raises(DeployctlError, match=message) as raised:
        check_plan_file(approved, context(*now))
    assert raised.value.code == "DC560"


@pytest.mark.parametrize(
    ("later", "accepted"),
    [
        ([], True),
        ([change("etl:1", field="image")], True),
        ([change("2")], False),
        ([change("etl:1", field="image"), change("x", field="entrypoint")], False),
        ([change(op=Op.DELETE)], False),
    ],
)
def test_only_what_was_unknown_may_become_known(
    tmp_path: Path, later: list[Change], accepted: bool
) -> None:
    planned = change(Unknown("build", "image"), field="image")
    approved = read_plan_file(written(tmp_path / "plan.json", planned))
    ctx = context(planned)
    check = check_plan_file(approved, ctx)
    ctx.plan = Plan(tuple(later))
    if accepted:
        check()
    else:
        with pytest.raises(DeployctlError, match="deployment etl/daily"):
            check()


def test_changed_value_of_a_block_is_another_plan(tmp_path: Path) -> None:
    def block(value: str) -> Change:
        """The update of a block, whose fields never hold its values."""
        desired = Resource("block", ("secret", "token"), {}, raw={"value": value})
        fields = (FieldChange("values", "(another value)", "********"),)
        return Change("block", ("secret", "token"), Op.UPDATE, desired, fields=fields)

    approved = read_plan_file(written(tmp_path / "plan.json", block("s3cr3t-one")))
    assert "s3cr3t" not in (tmp_path / "plan.json").read_text()
    check_plan_file(approved, context(block("s3cr3t-one")))
    with pytest.raises(DeployctlError, match="a value that is not shown differs"):
        check_plan_file(approved, context(block("s3cr3t-two")))


def test_plan_of_another_server_is_refused(tmp_path: Path) -> None:
    approved = read_plan_file(written(tmp_path / "plan.json", change()))
    with pytest.raises(DeployctlError, match=f"made for {SERVER}, and this is http://other/api"):
        check_plan_file(approved, context(change(), server="http://other/api"))


def test_plan_file_holds_no_secret(tmp_path: Path) -> None:
    path = written(tmp_path / "plan.json", change("s3cr3t-one", field="api_key"))
    assert "s3cr3t" not in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("not JSON", "is not a plan file"),
        ("[]", "is not a plan file"),
        ('{"version": 1, "changes": []}', "is not a plan file"),
        ('{"approval": {"format": 99}}', "newer deployctl"),
        ('{"approval": {"format": 1, "salt": "xyz"}}', "is not a plan file"),
    ],
)
def test_unusable_plan_file(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DeployctlError, match=message) as raised:
        read_plan_file(path)
    assert raised.value.code == "DC561"


def test_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeployctlError, match="cannot write"):
        written(tmp_path / "missing" / "plan.json", change())


def test_keys_of_the_approval(tmp_path: Path) -> None:
    data = json.loads(written(tmp_path / "plan.json", change()).read_text())
    assert data["approval"].keys() == {"format", "server", "run_steps", "salt", "digest"}
