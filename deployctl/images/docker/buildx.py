"""Images by BuildKit, through the docker command and its plugin buildx.

The options of a step are those of python-on-whales' `buildx.build`, which Prefect hands them to;
each has its flag. Where nothing says where the image goes, it is loaded into the engine. A
Dockerfile that was made up goes in by standard input, so that it needs no file.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.clients import process
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.images.docker.engine_errors import BadOption, NoBuildx, build_failed
from deployctl.images.docker.engine_output import AT_LINE
from deployctl.images.model import AUTO, BuildSpec
from deployctl.images.source import BuildSource

_ONE = {"builder": "--builder", "network": "--network"}
_MANY = {"allow": "--allow", "secrets": "--secret", "ssh": "--ssh"}
_PAIRS = {"add_hosts": ("--add-host", ":"), "build_contexts": ("--build-context", "=")}
_FIELDS = {
    "attest": "--attest",
    "cache_from": "--cache-from",
    "cache_to": "--cache-to",
    "output": "--output",
    "provenance": "--provenance",
    "sbom": "--sbom",
}
_SWITCHES = {"pull": "--pull", "push": "--push", "load": "--load"}
_WITHOUT_EFFECT = frozenset({"decode", "progress", "stream_logs"})
_OPTIONS = (
    _ONE.keys() | _MANY.keys() | _PAIRS.keys() | _FIELDS.keys() | _SWITCHES.keys() | {"cache"}
)

_NO_PLUGIN = re.compile(r"unknown (?:command|flag|shorthand)|is not a docker command")


@dataclass(frozen=True, slots=True)
class BuildxResult:
    """What buildx made."""

    ids: tuple[str, ...]
    """What the engine may know the image by; empty where it was not loaded."""
    digest: str | None
    """Of what was pushed; None where nothing was."""


def build(
    spec: BuildSpec,
    source: BuildSource,
    tags: Sequence[str],
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    stop: CancellationToken,
) -> BuildxResult:
    """Builds an image under these tags; `env` is that of the docker command.

    Raises BadOption, NoBuildx, BuildFailed, Interrupted.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "metadata.json"
        try:
            done = process.run(
                command(spec, tags, told),
                cwd=spec.context,
                env=env,
                timeout=None,
                on_line=lambda _, line: on_line(line),
                cancellation=stop,
                input=source.text if spec.dockerfile == AUTO else None,
            )
        except ProgramError as error:
            raise _no_buildx(error.message) from error
        if done.returncode:
            raise _failed(spec, source, done.stderr)
        metadata = json.loads(told.read_text(encoding="utf-8"))
    digests = [metadata.get(f"containerimage.{what}digest") for what in ("config.", "")]
    if _pushes(spec.options):
        return BuildxResult((), digests[1])
    return BuildxResult(tuple(str(each) for each in digests if each), None)


def command(spec: BuildSpec, tags: Sequence[str], metadata: Path) -> list[str]:
    """The command line that builds a spec and leaves word of it in a file. Raises BadOption."""
    options = {"pull": True} | dict(spec.options)
    for unknown in options.keys() - _OPTIONS - _WITHOUT_EFFECT:
        raise BadOption(
            f"the build step of '{spec.name}' has an option that buildx does not know: {unknown}",
            help=f"it knows {', '.join(sorted(_OPTIONS))}",
        )
    if _pushes(options) and not tags:
        raise BadOption(
            f"'{spec.name}' is pushed while it is built, and has no tag", help="give it a `tag`"
        )
    if not any(options.get(name) for name in ("push", "load", "output")):
        options["load"] = True
    argv = ["docker", "buildx", "build", "--progress=plain", f"--metadata-file={metadata}"]
    argv += [f"--tag={spec.name}:{each}" for each in tags]
    argv += [f"--build-arg={name}={value}" for name, value in spec.build_args.items()]
    argv += [f"--label={name}={value}" for name, value in spec.labels.items()]
    argv += [f"--target={spec.target}"] if spec.target else []
    argv += [f"--platform={spec.platform}"] if spec.platform else []
    if spec.ignore_cache or options.get("cache") is False:
        argv.append("--no-cache")
    file = "-" if spec.dockerfile == AUTO else spec.dockerfile
    return [*argv, *_flags(options), f"--file={file}", "."]


def _flags(options: Mapping[str, Json]) -> Iterator[str]:
    """The flags of what the step says in its own words."""
    for name, value in options.items():
        if value is None or value == {}:
            continue
        if name in _ONE:
            yield f"{_ONE[name]}={value}"
        elif name in _MANY:
            yield from (f"{_MANY[name]}={each}" for each in _list(value))
        elif name in _PAIRS:
            flag, between = _PAIRS[name]
            yield from (f"{flag}={key}{between}{each}" for key, each in value.items())
        elif name in _FIELDS:
            yield from (f"{_FIELDS[name]}={_fields(each)}" for each in _list(value))
        elif name in _SWITCHES and value:
            yield _SWITCHES[name]


def _pushes(options: Mapping[str, Json]) -> bool:
    """Whether the image goes to its registry while it is built."""
    outputs = [_fields(each).split(",") for each in _list(options.get("output") or [])]
    return bool(options.get("push")) or any(
        "type=registry" in each or "push=true" in each for each in outputs
    )


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else [value]


def _fields(value: Json) -> str:
    """`type=local,src=folder`: as written, or from a mapping."""
    if isinstance(value, dict):
        return ",".join(f"{key}={_fields(each)}" for key, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _failed(spec: BuildSpec, source: BuildSource, stderr: str) -> Exception:
    """The error of a build that failed: the last `ERROR:`, and the line that BuildKit shows."""
    lines = stderr.splitlines()
    if not any(line.startswith("#") for line in lines) and _NO_PLUGIN.search(stderr):
        return _no_buildx(lines[0])
    errors = [line.partition("ERROR:")[2] for line in lines if line.startswith("ERROR:")]
    reason = (errors[-1:] or lines[-1:] or ["no reason was given"])[0]
    shown = re.escape(Path(spec.dockerfile).name)
    places = AT_LINE.findall(stderr) or re.findall(rf"^{shown}:(\d+)$", stderr, re.MULTILINE)
    place = f"{source.name}:{places[-1]}" if places else ""
    return build_failed(spec.name, reason, place, lines, buildx=True)


def _no_buildx(reason: str) -> NoBuildx:
    return NoBuildx(
        f"`build_backend: buildx` needs the docker command with its plugin buildx: {reason}",
        help="install them, or take `build_backend` out of the build step",
    )
