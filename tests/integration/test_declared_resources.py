"""Resources at the top of the file, on both servers: each is created, changed and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.project_harness import ProjectHarness, entry, errors

Found = list[tuple[str, str, str]]


def changes(output: Any) -> Found:
    """Operation, kind and name of each root that a plan changes."""
    found = ((each["op"], each["kind"], each["name"]) for each in output["changes"])
    return [each for each in found if each[0] != "none"]


def stored_variable(project: ProjectHarness, name: str) -> tuple[Any, list[str]]:
    """Value and tags of a variable of the server."""
    found = project.api.call("GET", f"/variables/name/{name}")
    return found["value"], found["tags"]


def test_variables_are_written_before_what_uses_them(project: ProjectHarness) -> None:
    used = entry(
        work_pool={"name": "{{ prefect.variables.pool_of_etl }}"},
        parameters={"name": "{{ prefect.variables.limits }}"},
    )
    variables: dict[str, dict[str, Any]] = {
        "pool_of_etl": {"value": "pool"},
        "limits": {"value": "10", "tags": ["a"]},
        "old": {"value": "x"},
    }
    project.write([used], variables=variables)
    planned = project.run("plan", "--all")
    assert changes(planned) == [
        *(("create", "variable", name) for name in variables),
        ("create", "deployment", "hello/daily"),
    ]
    assert project.proxy.writes == []
    project.deploy()
    live = project.live()
    assert (live["work_pool_name"], live["parameters"]) == ("pool", {"name": "10"})
    assert stored_variable(project, "limits") == ("10", ["a"])
    project.deploy()
    assert project.proxy.writes == []
    # What the file never had stays; what it had goes back to its default.
    project.api.call("PATCH", "/variables/name/old", {"tags": ["set-in-the-ui"]})
    del variables["limits"]["tags"]
    variables["old"]["value"] = "y"
    project.write([used], variables=variables)
    assert changes(project.deploy()) == [
        ("update", "variable", "limits"),
        ("update", "variable", "old"),
    ]
    assert stored_variable(project, "limits") == ("10", [])
    assert stored_variable(project, "old") == ("y", ["set-in-the-ui"])
    del variables["old"]
    project.write([used], variables=variables)
    assert changes(project.run("plan", "--all")) == []
    assert changes(project.deploy("--prune")) == [("delete", "variable", "old")]
    assert project.api.answer("GET", "/variables/name/old").status_code == 404


def test_values_that_are_no_text(project: ProjectHarness) -> None:
    """Prefect 2 stores text, with a warning; an unchanged value is never written again there."""
    values = {"number": 3, "real": 1.0, "truth": True, "none": None, "many": [1, {"a": 2.0}]}
    used = entry(
        parameters={"name": "{{ prefect.variables.number }}"}, enforce_parameter_schema=False
    )
    file = {"variables": {name: {"value": value} for name, value in values.items()}}
    project.write([used], **file)
    output = project.deploy()
    stored = {name: stored_variable(project, name)[0] for name in values}
    codes = [each["code"] for each in output["diagnostics"]]
    if project.major == 3:
        assert stored == values
        assert "DC541" not in codes
        assert project.live()["parameters"] == {"name": 3}
    else:
        text = {"number": "3", "real": "1.0", "truth": "true", "none": "null"}
        assert stored == {**text, "many": '[1, {"a": 2.0}]'}
        assert codes.count("DC541") == len(values)
        assert project.live()["parameters"] == {"name": "3"}
        project.write([entry()], variables={"with-dash": {"value": "x"}})
        (error,) = errors(project.deploy(code=1))
        assert (error["code"], project.proxy.writes) == ("DC540", [])
        project.write([used], **file)
    project.deploy()
    assert project.proxy.writes == []


def test_concurrency_limits_keep_their_slots(project: ProjectHarness) -> None:
    def stored(path: str) -> Any:
        """A limit of the server, None if there is none."""
        answer = project.api.answer("GET", path)
        return answer.json() if answer.status_code == 200 else None

    database, gpu = "/v2/concurrency_limits/database", "/concurrency_limits/tag/gpu"
    limits = [
        {"name": "database", "limit": 5, "slot_decay_per_second": 2},
        {"tag": "gpu", "limit": 2},
    ]
    kept = {"variables": {"kept": {"value": "x"}, "also_kept": {"value": "x"}}}
    project.write([entry()], concurrency_limits=limits, **kept)
    project.deploy()
    found = stored(database)
    assert (found["limit"], found["slot_decay_per_second"], found["active"]) == (5, 2.0, True)
    assert stored(gpu)["concurrency_limit"] == 2
    project.deploy()
    assert project.proxy.writes == []
    taken = {"names": ["database"], "slots": 3}
    project.api.call("PATCH", "/v2/concurrency_limits/database", {"slot_decay_per_second": 0})
    project.api.call("POST", "/v2/concurrency_limits/increment", taken)
    limits = [{"name": "database", "limit": 7}, {"tag": "gpu", "limit": 3}]
    project.write([entry()], concurrency_limits=limits, **kept)
    assert changes(project.deploy()) == [
        ("update", "global_concurrency_limit", "database"),
        ("update", "tag_concurrency_limit", "gpu"),
    ]
    found = stored(database)
    assert (found["limit"], found["slot_decay_per_second"]) == (7, 0.0)
    assert found["active_slots"] == 3
    assert stored(gpu)["concurrency_limit"] == 3
    project.write([entry()], **kept)
    assert changes(project.deploy("--prune")) == [
        ("delete", "tag_concurrency_limit", "gpu"),
        ("delete", "global_concurrency_limit", "database"),
    ]
    assert (stored(database), stored(gpu)) == (None, None)


@pytest.fixture
def with_types(project: ProjectHarness) -> ProjectHarness:
    """The project, on a server that knows the types of blocks as others do."""
    project.api.call("POST", "/block_types/install_system_block_types")
    return project


def stored_block(project: ProjectHarness, type_: str, name: str) -> Any:
    """The values of a block of the server; None if there is no such block."""
    path = f"/block_types/slug/{type_}/block_documents/name/{name}?include_secrets=true"
    answer = project.api.answer("GET", path)
    return answer.json()["data"] if answer.status_code == 200 else None


def test_blocks_are_compared_on_the_server(with_types: ProjectHarness) -> None:
    project, first, second = with_types, {"TOKEN": "planted-one"}, {"TOKEN": "planted-two"}
    hook = {"type": "webhook", "values": {"url": "https://example.com/planted-in-a-url"}}
    blocks = {
        "token": {"type": "secret", "values": {"value": "{{ $TOKEN }}"}},
        "of-a-file": {"type": "secret", "files": {"value": "token.txt"}},
        "hook": hook,
    }
    kept = {"variables": {name: {"value": "x"} for name in ("a", "b", "c")}}
    (project.folder / "token.txt").write_text("planted-three\n")
    variables = {"env": {"T": "{{ prefect.blocks.secret.token }}"}}
    used = entry(work_pool={"name": "pool", "job_variables": variables})
    project.write([used], blocks=blocks, **kept)
    output = project.deploy(env=first)
    assert [each for each in output["diagnostics"] if each["severity"] != "note"] == []
    assert stored_block(project, "secret", "token") == {"value": "planted-one"}
    assert stored_block(project, "secret", "of-a-file") == {"value": "planted-three"}
    assert stored_block(project, "webhook", "hook") == hook["values"]
    assert "{{ prefect.blocks.secret.token }}" in str(project.live())
    project.deploy(env=first)
    assert project.proxy.writes == []
    planned = project.run("plan", "--all", env=second)
    assert changes(planned) == [("update", "block", "secret/token")]
    assert changes(project.deploy(env=second)) == [("update", "block", "secret/token")]
    assert stored_block(project, "secret", "token") == {"value": "planted-two"}
    project.write([entry()], **kept)
    assert {name for op, _, name in changes(project.deploy("--prune")) if op == "delete"} == {
        "secret/token",
        "secret/of-a-file",
        "webhook/hook",
    }
    assert stored_block(project, "secret", "token") is None


def test_block_that_does_not_fit_its_type_is_reported_before_anything_is_written(
    with_types: ProjectHarness,
) -> None:
    project = with_types
    blocks = [
        {"name": "a", "type": "secert", "values": {"value": "planted"}},
        {"name": "b", "type": "secret", "values": {"vale": "planted"}},
        {"name": "c", "type": "webhook", "values": {"method": "GET"}},
    ]
    project.write([entry()], blocks=blocks)
    found = [(each["code"], each["help"]) for each in errors(project.deploy(code=1))]
    assert found == [
        ("DC542", "Did you mean 'secret'?"),
        ("DC120", "Did you mean 'value'?"),
        ("DC127", "Add it under 'values'."),
        ("DC127", "Add it under 'values'."),
    ]
    assert project.proxy.writes == []


def test_no_value_of_a_block_is_in_any_output_or_record(with_types: ProjectHarness) -> None:
    """Short ones included; the server repeats what was sent in its errors."""
    project = with_types
    planted = ["planted-env", "planted-file", "planted-literal", "p7z"]
    blocks = {
        "token": {"type": "secret", "values": {"value": "{{ $TOKEN }}"}},
        "file": {"type": "secret", "files": {"value": "token.txt"}},
        "literal": {"type": "secret", "values": {"value": "planted-literal"}},
        "short": {"type": "secret", "values": {"value": "{{ $SHORT }}"}},
    }
    (project.folder / "token.txt").write_text("planted-file\n")
    env = {"TOKEN": "planted-env", "SHORT": "p7z"}
    leaking = entry(description="{{ prefect.blocks.secret.token }}")
    outputs = []

    def run(*args: str, **env: str) -> None:
        """Runs a command and keeps all that it prints."""
        result = project.cli(*args, cwd=project.folder, api_url=project.proxy.api_url, **env)
        outputs.append(result.stdout + result.stderr)

    project.write([leaking], blocks=blocks)
    run("deploy", "--all", **env)
    assert "DC306" in outputs[0]
    project.write([entry()], blocks=blocks)
    for output in ("human", "json", "github"):
        run("plan", "--all", "--output", output, **env)
    body = {"exception_message": "invalid", "exception_detail": [{"msg": " ".join(planted[:3])}]}
    project.proxy.answer(422, times=None, method="POST", path="/block_documents/$", body=body)
    run("deploy", "--all", **env)
    project.proxy.clear()
    run("deploy", "--all", **env)
    assert stored_block(project, "secret", "short") == {"value": "p7z"}
    for output in ("human", "json", "github"):
        changed = {"TOKEN": "planted-env-2", "SHORT": "p7y"}
        run("plan", "--all", "--output", output, **changed)
        assert "secret/token" in outputs[-1]
    outputs.append(project.api.answer("POST", "/artifacts/filter", {}).text)
    for output in outputs:
        assert [each for each in (*planted, "p7y") if each in output] == []


def test_flows_have_tags_and_keep_their_labels(project: ProjectHarness) -> None:
    def stored(name: str) -> Any:
        """A flow of the server."""
        return project.api.call("GET", f"/flows/name/{name}")

    new, old = {"tags": ["a", "b"], "labels": {"team": "x"}}, {"tags": ["c"]}
    project.api.call("POST", "/flows/", {"name": "old", "tags": ["z"]})
    project.write([entry()], flows={"hello": new, "old": old})
    output = project.deploy()
    assert changes(output) == [
        ("create", "flow", "hello"),
        ("update", "flow", "old"),
        ("create", "deployment", "hello/daily"),
    ]
    codes = [each["code"] for each in output["diagnostics"] if each["severity"] == "warning"]
    assert codes == (["DC512"] if project.major == 2 else [])
    assert sorted(stored("hello")["tags"]) == ["a", "b"]
    assert stored("old")["tags"] == ["c"]
    if project.major == 3:
        assert stored("hello")["labels"]["team"] == "x"
    project.deploy()
    assert project.proxy.writes == []
    new["labels"] = {"team": "y"}
    project.write([entry()], flows={"hello": new, "old": {"labels": {}}})
    output = project.deploy()
    assert changes(output) == [("update", "flow", "old")]
    assert stored("old")["tags"] == []
    if project.major == 3:
        (hello,) = [each for each in output["changes"] if each["name"] == "hello"]
        assert "cannot be changed" in hello["notes"][0]
    project.write([entry()])
    assert changes(project.deploy("--prune")) == []
    assert sorted(stored("hello")["tags"]) == ["a", "b"]
    assert project.run("plan", "--all")["undeclared"] == []


def test_selected_deployments_bring_what_they_use(project: ProjectHarness) -> None:
    one = entry(name="one", parameters={"name": "{{ prefect.variables.used }}"})
    variables = {name: {"value": name} for name in ("used", "unused")}
    project.write([one, entry(name="two")], variables=variables)
    output = project.run("deploy", "-n", "one")
    assert changes(output) == [
        ("create", "variable", "used"),
        ("create", "deployment", "hello/one"),
    ]
    assert project.live("one")["parameters"] == {"name": "used"}


def test_a_resource_belongs_to_one_project(project: ProjectHarness) -> None:
    project.write([entry(name="a")], name="first", variables={"shared": {"value": "1"}})
    project.deploy()
    project.write([entry(name="b")], name="second", variables={"shared": {"value": "2"}})
    (error,) = errors(project.deploy(code=1))
    assert error["code"] == "DC519"
    assert error["message"] == "the variable 'shared' belongs to the project 'first'"
    assert error["span"]["line"] == 1
    assert project.proxy.writes == []
    project.deploy("--take-over")
    assert stored_variable(project, "shared")[0] == "2"
