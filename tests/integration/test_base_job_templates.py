"""The servers accept and refuse the same base job templates as `check_base_job_template`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployctl.jobs.template_checks import check_base_job_template
from tests.integration.conftest import needs
from tests.support.api import Api
from tests.support.environment import isolated
from tests.support.job_templates import INVALID, VALID
from tests.support.prefect_cli import run_program
from tests.support.project_harness import ProjectHarness, entry, errors
from tests.support.servers import PREFECT_2, PREFECT_3, Server, interpreter

_DEFAULT_TEMPLATES = (
    "import json; from prefect.workers.process import ProcessWorker;"
    "print(json.dumps([ProcessWorker.get_default_base_job_template()]))"
)


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    with Api(server.api_url) as api:
        yield api


@pytest.mark.parametrize("name", [*VALID, *INVALID])
def test_server_decides_likewise(api: Api, name: str) -> None:
    template = VALID[name] if name in VALID else INVALID[name][0]
    body = {"name": f"template {name}", "type": "process", "base_job_template": template}
    answer = api.answer("POST", "/work_pools/", body)
    assert (answer.status_code == 201) is (name in VALID), answer.text


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_default_template_of_prefect_is_valid(version: str, tmp_path: Path) -> None:
    needs(version)
    command = [str(interpreter(version)), "-c", _DEFAULT_TEMPLATES]
    result = run_program(command, cwd=tmp_path, env=isolated(tmp_path))
    for template in json.loads(result.stdout):
        assert list(check_base_job_template(template)) == []


def test_invalid_template_stops_a_deploy_before_any_write(project: ProjectHarness) -> None:
    template, code, _ = INVALID["number for text"]
    (project.folder / "template.json").write_text(json.dumps(template))
    for value in (template, "template.json"):
        pools = [{"name": "new", "type": "docker", "base_job_template": value}]
        project.write([entry(), entry(name="other", work_pool={"name": "new"})], work_pools=pools)
        output = project.deploy(code=1)
        assert [each["code"] for each in errors(output)] == [code]
        assert project.proxy.exchanges == []
