"""Builds with BuildKit through the docker command and its buildx plugin.

The options of a step are those of `buildx.build` in python-on-whales, to which Prefect passes them;
each has a flag. An image without a configured output is loaded into the engine. A generated
Dockerfile is passed on standard input and needs no file.
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

_SINGLE = {"builder": "--builder", "network": "--network"}
_REPEATED = {"allow": "--allow", "secrets": "--secret", "ssh": "--ssh"}
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
    _SINGLE.keys()
    | _REPEATED.keys()
    | _PAIRS.keys()
    | _FIELDS.keys()
    | _SWITCHES.keys()
    | {"cache"}
)

_NO_PLUGIN = re.compile(r"unknown (?:command|flag|shorthand)|is not a docker command")


@dataclass(frozen=True, slots=True)
class BuildxResult:
    """Result of a buildx build."""

    ids: tuple[str, ...]
    """Ids under which the engine may know the image; empty if it was not loaded."""
    digest: str | None
    """Digest of the pushed image; None if it was not pushed."""


def build(
    spec: BuildSpec,
    source: BuildSource,
    tags: Sequence[str],
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    cancellation: CancellationToken,
) -> BuildxResult:
    """Builds an image with these tags; `env` is the environment of the docker command.

    Raises BadOption, NoBuildx, BuildFailed, Interrupted.
    """
    with tempfile.TemporaryDirectory() as temporary:
        metadata_file = Path(temporary) / "metadata.json"
        try:
            done = process.run(
                command(spec, tags, metadata_file),
                cwd=spec.context,
                env=env,
                timeout=None,
                on_line=lambda _, line: on_line(line),
                cancellation=cancellation,
                input=source.text if spec.dockerfile == AUTO else None,
            )
        except ProgramError as error:
            raise _buildx_missing(error.message) from error
        if done.returncode:
            raise _build_error(spec, source, done.stderr)
        metadata = json.loads(metadata_file.read_text(encoding="utf-8"))
    digests = [metadata.get(f"containerimage.{what}digest") for what in ("config.", "")]
    if _pushes(spec.options):
        return BuildxResult((), digests[1])
    return BuildxResult(tuple(str(each) for each in digests if each), None)


def command(spec: BuildSpec, tags: Sequence[str], metadata: Path) -> list[str]:
    """The command line of a build; buildx writes its metadata to a file. Raises BadOption."""
    options = {"pull": True} | dict(spec.options)
    for unknown in options.keys() - _OPTIONS - _WITHOUT_EFFECT:
        raise BadOption(
            f"the build step of '{spec.name}' has an option that buildx does not have: '{unknown}'",
            help=f"Use one of {', '.join(sorted(_OPTIONS))}.",
        )
    if _pushes(options) and not tags:
        raise BadOption(
            f"'{spec.name}' is pushed by its build and has no tag",
            help="Set `tag` in the build step.",
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
    """The flags for the options of a step."""
    for name, value in options.items():
        if value is None or value == {}:
            continue
        if name in _SINGLE:
            yield f"{_SINGLE[name]}={value}"
        elif name in _REPEATED:
            yield from (f"{_REPEATED[name]}={each}" for each in _list(value))
        elif name in _PAIRS:
            flag, separator = _PAIRS[name]
            yield from (f"{flag}={key}{separator}{each}" for key, each in value.items())
        elif name in _FIELDS:
            yield from (f"{_FIELDS[name]}={_fields(each)}" for each in _list(value))
        elif name in _SWITCHES and value:
            yield _SWITCHES[name]


def _pushes(options: Mapping[str, Json]) -> bool:
    """Whether the build pushes the image to its registry."""
    outputs = [_fields(each).split(",") for each in _list(options.get("output") or [])]
    return bool(options.get("push")) or any(
        "type=registry" in each or "push=true" in each for each in outputs
    )


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else [value]


def _fields(value: Json) -> str:
    """Comma-separated fields like `type=local,src=folder`, given as text or as a mapping."""
    if isinstance(value, dict):
        return ",".join(f"{key}={_fields(each)}" for key, each in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _build_error(spec: BuildSpec, source: BuildSource, stderr: str) -> Exception:
    """The error of a failed build: the last `ERROR:` and the line that BuildKit names."""
    lines = stderr.splitlines()
    if not any(line.startswith("#") for line in lines) and _NO_PLUGIN.search(stderr):
        return _buildx_missing(lines[0])
    errors = [line.partition("ERROR:")[2] for line in lines if line.startswith("ERROR:")]
    reason = (errors[-1:] or lines[-1:] or ["no reason given"])[0]
    shown = re.escape(Path(spec.dockerfile).name)
    line_numbers = AT_LINE.findall(stderr) or re.findall(rf"^{shown}:(\d+)$", stderr, re.MULTILINE)
    position = f"{source.name}:{line_numbers[-1]}" if line_numbers else ""
    return build_failed(spec.name, reason, position, lines, buildx=True)


def _buildx_missing(reason: str) -> NoBuildx:
    return NoBuildx(
        f"`build_backend: buildx` needs the docker command and its buildx plugin: {reason}",
        help="Install them, or remove `build_backend` from the build step.",
    )
