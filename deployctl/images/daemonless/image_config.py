"""The image config: environment, command, user, labels and other settings of an image.

Each instruction changes the config of the base image as Docker's builders do; no files are needed
for it. Times are those of the base image, so that equal inputs give an equal config on any day.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.images.dockerfile.parser import Instruction
from deployctl.images.dockerfile.stages import parse_pairs

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL = ("/bin/sh", "-c")
_EPOCH = "1970-01-01T00:00:00Z"
_BUILD_SPECIFIC = frozenset({"container", "container_config", "docker_version", "id", "parent"})
_NEED_VALUE = frozenset({"MAINTAINER", "ONBUILD", "STOPSIGNAL", "USER", "WORKDIR"})
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_INTERVALS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


class BadInstruction(DeployctlError):
    """An instruction has an invalid value, which Docker rejects too."""

    code = "DC703"


def layer_history(config: Mapping[str, Json]) -> list[str]:
    """`created_by` of each layer; empty if the history does not match the layers."""
    layers = (config.get("rootfs") or {}).get("diff_ids") or []
    history = [each for each in config.get("history") or [] if not each.get("empty_layer")]
    return [str(each.get("created_by")) for each in history] if len(history) == len(layers) else []


def resolve_workdir(current: str, path: str) -> str:
    """The working directory after a WORKDIR: absolute, without a trailing slash."""
    return posixpath.normpath("/" + posixpath.join("/", current, path).lstrip("/"))


class ImageConfig:
    """The config of an image under construction."""

    def __init__(self, base: Mapping[str, Json]) -> None:
        """`base` is the config of the base image."""
        self._whole = {k: deepcopy(v) for k, v in base.items() if k not in _BUILD_SPECIFIC}
        self._run: dict[str, Json] = self._whole.pop("config", None) or {}
        self._cmd_set = False
        """Whether CMD is set by this build rather than by the base image."""
        self._history: list[Json] = []
        if "PATH" not in self.env:
            self.add_env({"PATH": _PATH})

    @property
    def env(self) -> dict[str, str]:
        """The environment variables."""
        return parse_pairs(self._run.get("Env") or [])

    @property
    def workdir(self) -> str:
        """The working directory; `/` if none is set."""
        return self._run.get("WorkingDir") or "/"

    @property
    def run(self) -> Mapping[str, Json]:
        """The settings with which containers are started: the object `config` of the image config,
        with Docker's key names."""
        return self._run

    def apply(self, instruction: Instruction) -> bool:
        """Applies an instruction; False for one that does not change the config.

        Raises BadInstruction.
        """
        handler = _HANDLERS.get(instruction.keyword)
        if instruction.keyword in _NEED_VALUE and not "".join(instruction.words).strip():
            raise BadInstruction(f"{instruction.keyword} has no value")
        if handler is not None:
            handler(self, instruction)
        return handler is not None

    def add_env(self, values: Mapping[str, str]) -> None:
        """Sets environment variables."""
        self._run["Env"] = [f"{name}={value}" for name, value in {**self.env, **values}.items()]

    def add_labels(self, labels: Mapping[str, str]) -> None:
        """Sets labels."""
        if labels:
            self._run["Labels"] = {**(self._run.get("Labels") or {}), **labels}

    def add_history(self, created_by: str, *, layer: bool) -> None:
        """Adds a history entry, for an instruction that created a layer or not."""
        entry = {"created": self._created, "created_by": created_by}
        self._history.append(entry if layer else {**entry, "empty_layer": True})

    def as_json(self, diff_ids: Iterable[str]) -> Json:
        """The complete config, with layers of these diff IDs on top of those of the base image."""
        whole = {"os": "linux", "created": _EPOCH} | self._whole | {"config": self._run}
        rootfs = self._whole.get("rootfs") or {}
        below = list(rootfs.get("diff_ids") or [])
        whole["rootfs"] = {"type": "layers", "diff_ids": [*below, *diff_ids]}
        if len(layer_history(self._whole)) == len(below):
            whole["history"] = [*(self._whole.get("history") or []), *self._history]
        else:  # engines reject a history that does not match the layers
            whole.pop("history", None)
        return whole

    @property
    def _created(self) -> str:
        return str(self._whole.get("created") or _EPOCH)

    def _command(self, instruction: Instruction) -> list[str]:
        """The command of CMD and ENTRYPOINT; shell form is wrapped in the shell."""
        if instruction.is_json:
            return list(instruction.words)
        return [*(self._run.get("Shell") or _SHELL), *instruction.words]

    # Handlers, one per instruction

    def _do_env(self, found: Instruction) -> None:
        self.add_env(parse_pairs(found.words))

    def _do_label(self, found: Instruction) -> None:
        self.add_labels(parse_pairs(found.words))

    def _do_cmd(self, found: Instruction) -> None:
        self._run["Cmd"] = self._command(found) if found.words else []
        self._cmd_set = True

    def _do_entrypoint(self, found: Instruction) -> None:
        self._run["Entrypoint"] = self._command(found) if found.words else None
        if not self._cmd_set:
            self._run["Cmd"] = None

    def _do_workdir(self, found: Instruction) -> None:
        self._run["WorkingDir"] = resolve_workdir(self.workdir, found.words[0])

    def _do_user(self, found: Instruction) -> None:
        self._run["User"] = found.words[0]

    def _do_expose(self, found: Instruction) -> None:
        ports: Json = {port: {} for word in found.words for port in _ports(word)}
        self._run["ExposedPorts"] = {**(self._run.get("ExposedPorts") or {}), **ports}

    def _do_volume(self, found: Instruction) -> None:
        if not all(word.strip() for word in found.words):
            raise BadInstruction("VOLUME has an empty path")
        volumes: Json = {word: {} for word in found.words}
        self._run["Volumes"] = {**(self._run.get("Volumes") or {}), **volumes}

    def _do_stopsignal(self, found: Instruction) -> None:
        self._run["StopSignal"] = found.words[0]

    def _do_shell(self, found: Instruction) -> None:
        if not found.is_json or not found.words:
            raise BadInstruction("SHELL must be a JSON list")
        self._run["Shell"] = list(found.words)

    def _do_maintainer(self, found: Instruction) -> None:
        self._whole["author"] = found.words[0]

    def _do_onbuild(self, found: Instruction) -> None:
        self._run["OnBuild"] = [*(self._run.get("OnBuild") or []), found.words[0]]

    def _do_healthcheck(self, found: Instruction) -> None:
        kind, _, rest = (found.words[0] if found.words else "").partition(" ")
        test = _healthcheck_test(kind.upper(), rest.strip())
        times = {
            _INTERVALS[name]: _nanoseconds(value)
            for name, value in found.flags
            if name in _INTERVALS
        }
        retries = found.flag("retries")
        if retries is not None:
            times["Retries"] = _parse_retries(retries)
        self._run["Healthcheck"] = {"Test": test, **{k: v for k, v in times.items() if v}}

    def _do_arg(self, found: Instruction) -> None:
        """Does nothing: ARG affects later instructions, but not the image."""


_HANDLERS: Mapping[str, Callable[[ImageConfig, Instruction], None]] = {
    name.removeprefix("_do_").upper(): handler
    for name, handler in vars(ImageConfig).items()
    if name.startswith("_do_")
}


def _healthcheck_test(kind: str, command: str) -> list[str]:
    if kind == "NONE" and not command:
        return ["NONE"]
    if kind != "CMD" or not command:
        raise BadInstruction("HEALTHCHECK must have the form `CMD command` or be `NONE`")
    if command.startswith("["):
        try:
            return ["CMD", *map(str, json.loads(command))]
        except ValueError:
            pass  # shell form, as in Docker
    return ["CMD-SHELL", command]


def _nanoseconds(text: str) -> int:
    parts = _DURATION.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise BadInstruction(f"invalid duration '{text}', expected a form like 1m30s")
    return sum(round(float(number) * _NANOSECONDS[unit]) for number, unit in parts)


def _parse_retries(text: str) -> int:
    if not text.isdecimal():
        raise BadInstruction(f"invalid number of retries '{text}'")
    return int(text)


def _ports(word: str) -> list[str]:
    """The ports of one argument of EXPOSE, as `80/tcp`."""
    found = _PORT.fullmatch(word)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not found or not first <= last <= 65535:
        raise BadInstruction(f"invalid port or range of ports '{word}'")
    return [f"{port}/{(found[3] or 'tcp').lower()}" for port in range(first, last + 1)]
