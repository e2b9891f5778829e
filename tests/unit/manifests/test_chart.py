"""The Helm chart: its generated files are current, and it renders what `manifests worker` prints.

Needs helm, which `make cluster-tools` builds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from deployctl import __version__
from deployctl.core.json_values import Json
from deployctl.manifests.values import merged
from scripts.chart import CHART, generated_files
from tests.support.cluster import tools
from tests.support.manifest_cases import BASE, CASES, Case, render

KUBE_VERSION = ("--kube-version", "1.36")
"""A helm that is built from its module assumes 1.20."""
OLD_NAMES = {"server, old names", "customer-managed cloud, old names"}
"""The chart has the current names only."""


def test_generated_files_are_current() -> None:
    """`python -m scripts.chart` writes them."""
    for name, text in generated_files().items():
        assert (CHART / name).read_text() == text, name


def test_chart_has_the_version_of_deployctl() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    folder = tools.folder(("helm",))
    if folder is None:
        pytest.skip(tools.lacks(("helm",)))
    return subprocess.run(
        [folder / "helm", *arguments, *KUBE_VERSION], capture_output=True, text=True, check=False
    )


def template(values: Mapping[str, Json], folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "values.json"
    file.write_text(json.dumps(merged(BASE, values)))
    return helm(
        "template", "release", CHART, "--namespace", "default", "--values", file, "--skip-tests"
    )


def by_name(objects: list[Json]) -> dict[tuple[str, ...], Json]:
    """Objects by kind, namespace and name, with the base job template as a value."""
    found: dict[tuple[str, ...], Json] = {}
    for each in objects:
        metadata = each["metadata"]
        if each["kind"] == "ConfigMap":
            text = each["data"]["baseJobTemplate.json"]
            each = each | {"data": json.loads(text)}
        found[each["kind"], metadata.get("namespace", ""), metadata["name"]] = each
    return found


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.id not in OLD_NAMES], ids=lambda case: case.id
)
def test_chart_renders_the_same_objects(case: Case, tmp_path: Path) -> None:
    done = template(case.values, tmp_path)
    assert done.returncode == 0, done.stderr
    rendered = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert by_name(rendered) == by_name(render(case.values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"worker": {"config": {"workPool": ""}}}, "worker.config.workPool is missing"),
        ({"worker": {"config": {"workpool": "p"}}}, "workpool"),
        ({"worker": {"apiConfig": "cloud"}}, "worker.cloudApiConfig.accountId is missing"),
        ({"worker": {"selfHostedServerApiConfig": {"apiUrl": "http://a:b@x"}}}, "in plain text"),
        (
            {"worker": {"selfHostedServerApiConfig": {"basicAuth": {"authString": "a:b"}}}},
            "in plain text",
        ),
        (
            {"worker": {"extraEnvVars": [{"name": "PREFECT_API_KEY", "value": "k"}]}},
            "in plain text",
        ),
    ],
)
def test_chart_refuses_what_manifests_worker_refuses(
    values: Mapping[str, Json], message: str, tmp_path: Path
) -> None:
    done = template(values, tmp_path)
    assert done.returncode != 0
    assert message in done.stderr


def test_chart_passes_lint(tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(BASE))
    done = helm("lint", "--strict", CHART, "--values", file)
    assert done.returncode == 0, done.stdout + done.stderr
