"""The history of a project on both servers."""

from __future__ import annotations

from tests.support.project_harness import TRIGGER, ProjectHarness, entry, errors


def test_history_names_who_changed_what(project: ProjectHarness) -> None:
    triggers = {"triggers": [TRIGGER]} if project.major == 3 else {}
    env = {"GITHUB_ACTOR": "ann"}
    for number in (1, 2, 2, 3):
        schedules = [{"cron": f"0 {number} * * *", "slug": "nightly"}]
        daily = entry(description=str(number), schedules=schedules, **triggers)
        project.write([daily, entry(name="same")])
        project.deploy(env=env)
    newest, second, first = project.run("history")["revisions"]
    assert [each["author"] for each in (newest, second, first)] == ["ann"] * 3
    assert [(each["op"], each["name"]) for each in first["changes"]] == [
        ("create", "hello/daily"),
        ("create", "hello/same"),
    ]
    (changed,) = second["changes"]
    assert changed["fields"] == [{"field": "description", "old": "1", "new": "2"}]
    (schedule,) = changed["parts"]
    assert schedule["fields"][0]["old"]["cron"] == "0 1 * * *"
    assert len(project.run("history", "hello/same")["revisions"]) == 1
    shown = project.run("history", "--revision", newest["id"][:8])["revisions"]
    assert [each["id"] for each in shown] == [newest["id"]]
    (unknown,) = errors(project.run("history", "--revision", "nothing", code=1))
    assert unknown["code"] == "DC563"
    project.write([entry(name="same")])
    project.deploy("--prune", "--yes")
    (deleted, *_) = project.run("history")["revisions"]
    assert [(each["op"], each["name"]) for each in deleted["changes"]] == [
        ("delete", "hello/daily")
    ]


def test_revisions_hold_no_secret(project: ProjectHarness) -> None:
    for number in ("one", "two"):
        variables = {"env": {"API_KEY": f"s3cr3t-{number}", "PLAIN": number}}
        work_pool = {"name": "pool", "job_variables": variables}
        project.write([entry(work_pool=work_pool)], variables={"db_password": {"value": number}})
        project.deploy()
    found = project.api.call("POST", "/artifacts/filter", {})
    assert len(found) >= 3
    assert "s3cr3t" not in str(found)
    (newest, _) = project.run("history")["revisions"]
    masked = [each["fields"] for each in newest["changes"] if each["kind"] == "variable"]
    assert masked == [[{"field": "value", "old": "********", "new": "********"}]]


def test_two_files_of_one_project_are_one_revision(project: ProjectHarness) -> None:
    project.write([entry()])
    text = (project.folder / "prefect.yaml").read_text()
    (project.folder / "more.yaml").write_text(text.replace("daily", "more"))
    project.run("deploy", "--all", "--prefect-file", "prefect.yaml", "--prefect-file", "more.yaml")
    (only,) = project.run("history")["revisions"]
    assert [each["name"] for each in only["changes"]] == ["hello/daily", "hello/more"]
