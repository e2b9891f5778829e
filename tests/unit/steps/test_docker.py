from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.errors import Denied
from deployctl.core.errors import ProgramError, StepFailed
from deployctl.images.builder import StepCredentials
from deployctl.images.docker.engine_errors import BuildFailed
from deployctl.images.model import BuildSpec, Image
from deployctl.images.pipeline import FixedImage
from deployctl.steps.context import StepContext
from deployctl.steps.docker import build_spec
from deployctl.steps.engine import plan_steps, run_steps
from deployctl.steps.model import Step
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from deployctl.templating.render import Scope
from deployctl.templating.values import Unknown

BUILD = "prefect_docker.deployments.steps.build_docker_image"
PUSH = "prefect_docker.projects.steps.push_docker_image"
HERE = Path("/project")


@pytest.mark.parametrize(
    ("inputs", "changed"),
    [
        ({}, {}),
        ({"tag": 3.1, "additional_tags": [1, "b"]}, {"tag": "3.1", "additional_tags": ("1", "b")}),
        ({"path": "sub", "dockerfile": "x/D"}, {"context": HERE / "sub", "dockerfile": "x/D"}),
        ({"context_path": "/else"}, {"context": Path("/else")}),
        ({"buildargs": {"A": 1, "UNSET": None}}, {"build_args": {"A": "1"}}),
        ({"build_args": {"A": "b"}}, {"build_args": {"A": "b"}}),
        ({"platform": "linux/arm64"}, {"platform": "linux/arm64"}),
        ({"platform": "amd64"}, {"platform": "linux/amd64"}),
        ({"platforms": ["linux/arm64"]}, {"platform": "linux/arm64"}),
        ({"target": "t", "labels": {"n": 1}}, {"target": "t", "labels": {"n": "1"}}),
        (
            {"ignore_cache": True, "dockerfile": "auto"},
            {"ignore_cache": True, "dockerfile": "auto", "home": "/opt/prefect/project"},
        ),
        (
            {"build_backend": "buildx", "cache_to": {}},
            {"backend": "buildx", "options": {"cache_to": {}}},
        ),
        (
            {"network_mode": "host", "pull": False},
            {"options": {"network_mode": "host", "pull": False}},
        ),
        ({"persist_dockerfile": True, "dockerfile_output_path": "x"}, {}),
    ],
)
def test_inputs_of_build_step_become_build_spec(
    inputs: dict[str, Any], changed: dict[str, Any]
) -> None:
    plain = BuildSpec("team/app", HERE)
    assert build_spec({"image_name": "team/app", **inputs}, HERE, "") == replace(plain, **changed)


@pytest.mark.parametrize(
    ("name", "full"),
    [("app", "reg.test/team/app"), ("other/app", "other/app"), ("reg:5000/app", "reg:5000/app")],
)
def test_namespace_is_prepended_to_name_without_owner(name: str, full: str) -> None:
    assert build_spec({"image_name": name}, HERE, "reg.test/team/").name == full
    assert build_spec({"image_name": name}, HERE, "").name == name


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"buildargs": ["A=1"]}, "'buildargs' .* must be a mapping"),
        ({"build_args": "A=1"}, "'build_args' .* must be a mapping"),
        ({"labels": ["a=1"]}, "'labels' .* must be a mapping"),
        ({"tag": "feature/x"}, "invalid image reference 'team/app:feature/x'"),
        ({"additional_tags": ["ok", "not ok"]}, "invalid tag 'not ok'"),
        ({"image_name": "team/App"}, "lower case"),
        ({"image_name": "team/app:1"}, "invalid repository"),
        ({"build_backend": "buildkit"}, "'build_backend' .* cannot be 'buildkit'"),
    ],
)
def test_names_that_docker_refuses_fail_before_the_build(
    at: Callable[[Any], StepContext], inputs: dict[str, Any], message: str
) -> None:
    provider = Recorded()
    with pytest.raises(StepFailed, match=message):
        run_steps({"d": steps(**inputs)[:1]}, Scope({}), at(provider), {})
    assert provider.made == []


def test_several_platforms_need_buildx() -> None:
    inputs = {"image_name": "app", "platforms": ["linux/arm64", "amd64"]}
    spec = build_spec({**inputs, "build_backend": "buildx"}, HERE, "")
    assert spec.platform == "linux/arm64,linux/amd64"
    with pytest.raises(ProgramError, match="several platforms"):
        build_spec(inputs, HERE, "")


class Recorded:
    """A provider that records its calls."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.there: dict[str, Image] = {}
        self.made: list[BuildSpec] = []
        self.published: list[tuple[Any, ...]] = []
        self.pins: dict[str, str] = {}
        self.logins: dict[str, StepCredentials] = {}

    def use_credentials(self, name: str, login: StepCredentials) -> None:
        self.logins[name] = login

    def find(self, spec: BuildSpec) -> Image | None:
        if self.fails:
            raise self.fails
        return self.there.get(spec.name)

    def find_pushed(self, name: str, tag: str | None, more: Sequence[str]) -> Image | None:  # noqa: ARG002
        return self.there.get(name)

    def build(self, spec: BuildSpec) -> Image:
        if self.fails:
            raise self.fails
        self.made.append(spec)
        return Image(spec.name, spec.tag or "content-1", id="sha256:1")

    def push(
        self, name: str, tag: str | None, more: Sequence[str], login: StepCredentials | None
    ) -> Image:
        self.published.append((name, tag, more, login))
        return Image(name, tag or "made", "sha256:2")

    def dockerfile_text(self, spec: BuildSpec) -> str:
        return f"FROM {spec.name}\n"


@pytest.fixture
def at(tmp_path: Path) -> Callable[[Any], StepContext]:
    return lambda provider: StepContext(
        tmp_path, {}, "python", lambda *_: None, image_provider=provider
    )


def steps(**build: Any) -> list[Step]:
    pushed = {
        "image_name": "{{ image_name }}",
        "tag": "{{ tag }}",
        "additional_tags": "{{ b.additional_tags }}",
        "credentials": {"username": "u", "password": "hidden-one", "registry_url": "r.test"},
    }
    return [Step(BUILD, {"image_name": "team/app", **build}, "b"), Step(PUSH, pushed, "p")]


def test_a_generated_dockerfile_keeps_the_place_of_its_context_in_the_project(
    at: Callable[[Any], StepContext],
) -> None:
    provider = Recorded()
    context = at(provider)
    (context.folder / "app" / "src").mkdir(parents=True)
    move = Step("prefect.deployments.steps.set_working_directory", {"directory": "app"})
    build, _ = steps(dockerfile="auto", path="src")
    run_steps({"d": [move, build]}, Scope({}), context, {})
    (spec,) = provider.made
    assert spec.context == context.folder / "app" / "src"
    assert spec.home == f"/opt/prefect/{context.folder.name}/app/src"


def test_push_has_its_tags_and_credentials_and_runs_once(
    at: Callable[[Any], StepContext],
) -> None:
    provider = Recorded()
    steps_by_deployment = {name: steps(additional_tags=["latest"]) for name in "ab"}
    outputs = run_steps(steps_by_deployment, Scope({}), at(provider), {})
    assert len(provider.made) == 1
    login = StepCredentials("u", "hidden-one", "r.test")
    assert provider.published == [("team/app", "content-1", ("latest",), login)]
    pushed = {
        "image_name": "team/app",
        "tag": "content-1",
        "image": "team/app:content-1",
        "additional_tags": ["latest"],
    }
    assert outputs["a"] == outputs["b"]
    assert outputs["a"]["b"] == {**pushed, "image_id": "sha256:1"}
    assert outputs["a"]["p"] == pushed


@pytest.mark.parametrize(
    ("inputs", "asked", "image"),
    [
        ({"image_name": "team/app"}, ("team/app", None), "team/app:made"),
        ({"image_name": "team/app:7"}, ("team/app", "7"), "team/app:7"),
        (
            {"image_name": "r.test:5000/app", "tag": 7},
            ("r.test:5000/app", "7"),
            "r.test:5000/app:7",
        ),
    ],
)
def test_push_takes_tag_from_name_or_built_image(
    at: Callable[[Any], StepContext], inputs: dict[str, Any], asked: tuple[Any, ...], image: str
) -> None:
    provider = Recorded()
    outputs = run_steps({"d": [Step(PUSH, inputs)]}, Scope({}), at(provider), {})["d"]
    assert provider.published == [(*asked, (), None)]
    assert outputs["image"] == image


@pytest.mark.parametrize("login", [{"username": "u"}, ["u", "p"], {"password": "p"}])
def test_incomplete_credentials_are_refused(at: Callable[[Any], StepContext], login: Any) -> None:
    step = Step(PUSH, {"image_name": "a", "credentials": login})
    with pytest.raises(StepFailed, match="credentials"):
        run_steps({"d": [step]}, Scope({}), at(Recorded()), {})


@pytest.mark.parametrize(
    ("registry", "hint"),
    [("", "credentials"), ("docker.io", "credentials"), ("r.test", "docker login")],
)
def test_help_names_the_refused_credentials_of_the_step(
    at: Callable[[Any], StepContext], registry: str, hint: str
) -> None:
    """`docker login` has no effect on them, unless they are for another registry."""

    class Refuses(Recorded):
        def push(self, *_: Any) -> Image:
            raise Denied("no", help="docker login")

    login = {"username": "ali", "password": "p", "registry_url": registry}
    step = Step(PUSH, {"image_name": "team/app", "credentials": login})
    with pytest.raises(StepFailed) as raised:
        run_steps({"d": [step]}, Scope({}), at(Refuses()), {})
    assert hint in str(raised.value.help)
    assert ("'ali'" in str(raised.value.help)) is (hint == "credentials")


def test_generated_dockerfile_is_written_only_on_request(
    at: Callable[[Any], StepContext],
) -> None:
    context = at(Recorded())
    run_steps({"d": steps(dockerfile="auto")[:1]}, Scope({}), context, {})
    assert list(context.folder.iterdir()) == []
    inputs = {"persist_dockerfile": True, "dockerfile_output_path": "Kept"}
    run_steps({"d": steps(dockerfile="auto", **inputs)[:1]}, Scope({}), context, {})
    assert (context.folder / "Kept").read_text() == "FROM team/app\n"
    inputs["dockerfile_output_path"] = "no/folder"
    with pytest.raises(StepFailed, match=r"cannot write '.*no/folder': No such file"):
        run_steps({"d": steps(dockerfile="auto", **inputs)[:1]}, Scope({}), context, {})


def test_written_dockerfile_is_part_of_its_own_context(
    at: Callable[[Any], StepContext],
) -> None:
    """Otherwise the next build would find a new file, and another content tag."""
    seen: list[list[str]] = []

    class ListsContext(Recorded):
        def build(self, spec: BuildSpec) -> Image:
            seen.append([path.name for path in spec.context.iterdir()])
            return super().build(spec)

    context = at(ListsContext())
    kept = steps(dockerfile="auto", persist_dockerfile=True)[:1]
    run_steps({"d": kept}, Scope({}), context, {})
    assert seen == [["Dockerfile.generated"]]
    (context.folder / "Dockerfile.generated").unlink()
    run_steps({"d": kept}, Scope({}), replace(context, image_provider=FixedImage("team/app:1")), {})
    assert list(context.folder.iterdir()) == []


def test_plan_reports_input_rendered_to_wrong_type(
    at: Callable[[Any], StepContext],
) -> None:
    class FindsImage(Recorded):
        def find(self, spec: BuildSpec) -> Image | None:
            return Image(spec.name, "1")

    base = Step(BUILD, {"image_name": "base"}, "base")
    app = Step(BUILD, {"image_name": "app", "buildargs": "{{ base.tag }}"}, path=("build", 1))
    _, (problem,) = plan_steps({"d": [base, app]}, Scope({}), at(FindsImage()))
    assert (problem.code, problem.path[:2]) == ("DC322", ("build", 1))


def test_plan_looks_up_shared_image_once(
    at: Callable[[Any], StepContext],
) -> None:
    asked: list[BuildSpec] = []

    class RecordsSpecs(Recorded):
        def find(self, spec: BuildSpec) -> Image | None:
            asked.append(spec)
            return Image(spec.name, "content-9")

    steps_by_deployment = {name: steps() for name in "abc"} | {"d": steps(tag="4")}
    planned, _ = plan_steps(steps_by_deployment, Scope({}), at(RecordsSpecs()))
    assert [spec.tag for spec in asked] == [None, "4"]
    assert planned["a"] == planned["c"]


def test_failed_build_keeps_code_of_its_cause(at: Callable[[Any], StepContext]) -> None:
    provider = Recorded(BuildFailed("no such file", help="Look."))
    with pytest.raises(StepFailed, match="step 'b' of d: no such file") as raised:
        run_steps({"d": steps()}, Scope({}), at(provider), {})
    assert (raised.value.code, raised.value.help) == (BuildFailed.code, "Look.")


def test_plan_finds_existing_images(at: Callable[[Any], StepContext]) -> None:
    provider = Recorded()
    provider.there["team/app"] = Image("team/app", "content-9", id="sha256:3")
    planned, problems = plan_steps({"d": steps()}, Scope({}), at(provider))
    assert problems == []
    assert planned["d"]["b"]["image_id"] == "sha256:3"
    assert planned["d"]["p"]["image"] == "team/app:content-9"
    assert (provider.made, provider.published) == ([], [])


def test_outputs_after_a_step_that_must_run_are_unknown(
    at: Callable[[Any], StepContext],
) -> None:
    provider = Recorded()
    provider.there["team/app"] = Image("team/app", "content-9")
    script = Step("prefect.deployments.steps.run_shell_script", {"script": "make"})
    planned, _ = plan_steps({"d": [script, *steps()]}, Scope({}), at(provider))
    assert planned["d"]["b"]["tag"] == Unknown("b", "tag")


def test_failed_look_up_is_reported_at_the_step(
    at: Callable[[Any], StepContext],
) -> None:
    step = replace(steps()[0], path=("build", 0))
    planned, (problem,) = plan_steps({"d": [step]}, Scope({}), at(Recorded(BuildFailed("no"))))
    assert (problem.path, problem.code) == (("build", 0), BuildFailed.code)
    assert planned["d"]["tag"] == Unknown("b", "tag")


@pytest.mark.parametrize(
    ("reference", "image", "tag"),
    [
        ("reg.test:5000/team/app:2", "reg.test:5000/team/app:2", "2"),
        ("team/app", "team/app:latest", "latest"),
        (f"team/app@sha256:{'a' * 64}", "team/app:latest", "latest"),
        (f"team/app:3@sha256:{'a' * 64}", "team/app:3", "3"),
    ],
)
def test_image_of_the_command_line_is_the_output_of_all_steps(
    at: Callable[[Any], StepContext], reference: str, image: str, tag: str
) -> None:
    provider = FixedImage(reference)
    outputs = run_steps({"d": steps()}, Scope({}), at(provider), {})["d"]
    assert (outputs["b"]["image"], outputs["p"]["tag"]) == (image, tag)
    assert provider.pins == {image: reference}


HUB = StepCredentials("u", "hidden-one", "")
BLOCK = "{{ prefect.blocks.docker-registry-credentials.hub }}"


@pytest.mark.parametrize(
    ("push", "login"),
    [
        ({"credentials": {"username": "u", "password": "{{ $REGPW }}"}}, HUB),
        ({"credentials": BLOCK}, HUB),
        ({"image_name": "team/app", "tag": 1, "credentials": BLOCK}, HUB),
        ({"image_name": "{{ b.image_name }}:2", "credentials": BLOCK}, HUB),
        ({"credentials": {"username": "u", "password": "{{ $UNSET }}"}}, None),
        ({"credentials": {"username": "u", "password": "{{ later.stdout }}"}}, None),
        ({"credentials": {"username": "u"}}, None),
        ({"image_name": "other/app", "credentials": BLOCK}, None),
        ({"image_name": "NO", "credentials": BLOCK}, None),
        ({}, None),
    ],
)
def test_image_is_looked_up_with_credentials_of_its_push(
    at: Callable[[Any], StepContext], push: dict[str, Any], login: StepCredentials | None
) -> None:
    """The look-ups of a plan and of a build both come before the push step."""

    class Stops(Recorded):
        def build(self, spec: BuildSpec) -> Image:
            raise BuildFailed(spec.name)

    document = {"block_type": {"slug": "x"}, "data": {"username": "u", "password": "hidden-one"}}
    hub = PlaceholderKind.BLOCK, ("docker-registry-credentials", "hub")
    scope = Scope(
        {"REGPW": "hidden-one"}, references=ReferenceValues({hub: document}, secrets=True)
    )
    pushed = {"image_name": "{{ b.image_name }}", "tag": "{{ b.tag }}", **push}
    steps_by_deployment = {"d": [Step(BUILD, {"image_name": "app"}, "b"), Step(PUSH, pushed)]}
    planned, built = Recorded(), Stops()
    plan_steps(steps_by_deployment, scope, replace(at(planned), namespace="team"))
    with pytest.raises(StepFailed):
        run_steps(steps_by_deployment, scope, replace(at(built), namespace="team"), {})
    assert planned.logins == built.logins == ({"team/app": login} if login else {})
