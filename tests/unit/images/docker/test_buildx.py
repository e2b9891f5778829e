"""Command line of buildx, and its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.images.docker import buildx
from deployctl.images.docker.engine_errors import BadOption, BuildFailed, NoBuildx
from deployctl.images.model import AUTO, BuildSpec
from deployctl.images.source import BuildSource

ALWAYS = ["docker", "buildx", "build", "--progress=plain", "--metadata-file=m"]


def flags(*tags: str, **spec: Any) -> list[str]:
    """The flags that this spec adds to the command line."""
    argv = buildx.command(BuildSpec("r/app", Path(), backend="buildx", **spec), tags, Path("m"))
    assert (argv[:5], argv[-2:]) == (ALWAYS, ["--file=Dockerfile", "."])
    return argv[5:-2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"builder": "b", "network": "host"}, ["--builder=b", "--network=host"]),
        ({"secrets": "id=a,src=b"}, ["--secret=id=a,src=b"]),
        ({"secrets": ["id=a", "id=b"]}, ["--secret=id=a", "--secret=id=b"]),
        ({"ssh": "default", "allow": ["network.host"]}, ["--ssh=default", "--allow=network.host"]),
        ({"add_hosts": {"h": "1.2.3.4"}}, ["--add-host=h:1.2.3.4"]),
        ({"build_contexts": {"lib": "../lib"}}, ["--build-context=lib=../lib"]),
        ({"cache_from": "r/cache"}, ["--cache-from=r/cache"]),
        ({"cache_from": [{"type": "gha"}, "r"]}, ["--cache-from=type=gha", "--cache-from=r"]),
        ({"cache_to": {"type": "local", "dest": "d"}}, ["--cache-to=type=local,dest=d"]),
        ({"provenance": False, "sbom": True}, ["--provenance=false", "--sbom=true"]),
        ({"cache": False}, ["--no-cache"]),
        ({"cache": True, "progress": "tty", "ssh": None, "attest": {}}, []),
    ],
)
def test_flag_of_each_option(options: Any, expected: list[str]) -> None:
    assert flags(options={"pull": False, "load": True, **options}) == [
        *[flag for flag in expected if flag == "--no-cache"],
        "--load",
        *[flag for flag in expected if flag != "--no-cache"],
    ]


def test_flags_of_the_spec() -> None:
    assert flags(
        "1",
        "2",
        build_args={"A": "x y"},
        labels={"l": "v"},
        target="t",
        platform="linux/arm64",
        ignore_cache=True,
    ) == [
        "--tag=r/app:1",
        "--tag=r/app:2",
        "--build-arg=A=x y",
        "--label=l=v",
        "--target=t",
        "--platform=linux/arm64",
        "--no-cache",
        "--pull",
        "--load",
    ]


def test_dockerfile_is_read_in_place_for_its_own_ignore_file() -> None:
    def file(dockerfile: str) -> str:
        spec = BuildSpec("r/app", Path("f"), dockerfile, backend="buildx")
        return buildx.command(spec, [], Path("m"))[-2]

    assert file("docker/Dockerfile.prod") == "--file=docker/Dockerfile.prod"
    assert file(AUTO) == "--file=-"


@pytest.mark.parametrize("where", [{"push": True}, {"output": {"type": "oci", "dest": "f"}}])
def test_image_with_an_output_is_not_loaded(where: Any) -> None:
    assert "--load" not in flags("1", options=where)


@pytest.mark.parametrize(
    ("options", "message"), [({"squash": True}, "squash"), ({"push": True}, "no tag")]
)
def test_invalid_option_is_rejected(options: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        flags(options=options)


FAILED = """\
#5 [2/2] RUN make
#5 0.1 no rule
#5 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2
------
Dockerfile:3
--------------------
   3 | >>> RUN make
--------------------
ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""


def docker(folder: Path, stderr: str, code: int, metadata: str = "{}") -> dict[str, str]:
    """An environment whose docker command only prints this."""
    program = folder / "bin" / "docker"
    program.parent.mkdir()
    (folder / "says").write_text(stderr)
    script = [
        "#!/bin/sh",
        'for word; do case "$word" in --metadata-file=*) file="${word#*=}";; esac; done',
        f"cat > {folder}/read",
        f"echo '{metadata}' > \"$file\"",
        f"cat {folder}/says >&2; exit {code}",
    ]
    program.write_text("\n".join(script))
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


def built(
    folder: Path, env: dict[str, str], dockerfile: str = AUTO, **options: Any
) -> buildx.BuildxResult:
    source = BuildSource(folder, "FROM made-up\n", None, dockerfile, [])
    spec = BuildSpec("r/app", folder, dockerfile, backend="buildx", options=options)
    return buildx.build(spec, source, ["1"], env, lambda _: None, CancellationToken())


METADATA = '{"containerimage.config.digest": "sha256:c", "containerimage.digest": "sha256:m"}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, buildx.BuildxResult(("sha256:c", "sha256:m"), None)),
        ({"push": True}, buildx.BuildxResult((), "sha256:m")),
        ({"output": {"type": "registry"}}, buildx.BuildxResult((), "sha256:m")),
        ({"output": ["type=image,name=x,push=true"]}, buildx.BuildxResult((), "sha256:m")),
        ({"output": {"type": "docker"}}, buildx.BuildxResult(("sha256:c", "sha256:m"), None)),
    ],
)
def test_result_is_read_from_the_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, expected: buildx.BuildxResult
) -> None:
    env = docker(tmp_path, "#1 done", 0, METADATA)
    monkeypatch.setenv("PATH", env["PATH"])
    assert built(tmp_path, env, **options) == expected
    assert (tmp_path / "read").read_text() == "FROM made-up\n"


@pytest.mark.parametrize(
    ("stderr", "kind", "message"),
    [
        (FAILED, BuildFailed, r"at docker/D.prod:3: failed to solve: .*exit code: 2"),
        (FAILED.replace("Dockerfile", "D.prod"), BuildFailed, r"at docker/D.prod:3: failed"),
        ("docker: unknown command: docker buildx\n", NoBuildx, "unknown command"),
        ("docker: 'buildx' is not a docker command.\n", NoBuildx, "not a docker command"),
        ("unknown flag: --metadata-file\n", NoBuildx, "unknown flag"),
        ("", BuildFailed, "no reason"),
    ],
)
def test_failure_is_classified(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stderr: str,
    kind: type[Exception],
    message: str,
) -> None:
    env = docker(tmp_path, stderr, 1)
    monkeypatch.setenv("PATH", env["PATH"])
    with pytest.raises(kind, match=message):
        built(tmp_path, env, "docker/D.prod")


def test_missing_docker_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBuildx, match="'docker' was not found"):
        built(tmp_path, {"PATH": str(tmp_path)})
