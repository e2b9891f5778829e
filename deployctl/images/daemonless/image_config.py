"""What a Dockerfile says of the image itself: variables, command, user, labels and the like.

Each instruction changes the configuration that the base image has, as Docker's own builders do it;
nothing here needs to know any file. Times are those of the base image, so that the same input makes
the same configuration on any day.
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
_OF_ANOTHER_BUILD = frozenset({"container", "container_config", "docker_version", "id", "parent"})
_WITH_ONE_WORD = frozenset({"MAINTAINER", "ONBUILD", "STOPSIGNAL", "USER", "WORKDIR"})
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
    """An instruction has a value that Docker would not take either."""

    code = "DC703"


def layer_history(config: Mapping[str, Json]) -> list[str]:
    """What the history in an image's configuration says of each layer; nothing if it does not fit
    the layers."""
    below = (config.get("rootfs") or {}).get("diff_ids") or []
    told = [each for each in config.get("history") or [] if not each.get("empty_layer")]
    return [str(each.get("created_by")) for each in told] if len(told) == len(below) else []


def resolve_workdir(now: str, words: str) -> str:
    """The working folder after a WORKDIR, absolute and without a slash at its end."""
    return posixpath.normpath("/" + posixpath.join("/", now, words).lstrip("/"))


class ImageConfig:
    """The configuration of an image that is being made."""

    def __init__(self, base: Mapping[str, Json]) -> None:
        """`base` is the whole configuration of the base image."""
        self._whole = {k: deepcopy(v) for k, v in base.items() if k not in _OF_ANOTHER_BUILD}
        self._run: dict[str, Json] = self._whole.pop("config", None) or {}
        self._command_is_ours = False
        self._history: list[Json] = []
        if "PATH" not in self.env:
            self.add_env({"PATH": _PATH})

    @property
    def env(self) -> dict[str, str]:
        """The variables."""
        return parse_pairs(self._run.get("Env") or [])

    @property
    def folder(self) -> str:
        """The working folder; `/` where none is set."""
        return self._run.get("WorkingDir") or "/"

    @property
    def run(self) -> Mapping[str, Json]:
        """What a container of the image is started with, in Docker's words."""
        return self._run

    def apply(self, instruction: Instruction) -> bool:
        """Does what an instruction says; False for one that is not about the configuration.

        Raises BadValue.
        """
        act = _ACTS.get(instruction.keyword)
        if instruction.keyword in _WITH_ONE_WORD and not "".join(instruction.words).strip():
            raise BadInstruction(f"{instruction.keyword} has no value")
        if act is not None:
            act(self, instruction)
        return act is not None

    def add_env(self, values: Mapping[str, str]) -> None:
        """Adds variables, or gives them other values."""
        self._run["Env"] = [f"{name}={value}" for name, value in {**self.env, **values}.items()]

    def label(self, labels: Mapping[str, str]) -> None:
        """Adds labels."""
        if labels:
            self._run["Labels"] = {**(self._run.get("Labels") or {}), **labels}

    def told(self, text: str, *, layer: bool) -> None:
        """Adds to the image's history what was done, and whether it made a layer."""
        entry = {"created": self._created, "created_by": text}
        self._history.append(entry if layer else {**entry, "empty_layer": True})

    def finished(self, diff_ids: Iterable[str]) -> Json:
        """The whole configuration, with layers of these digests on top of the base's."""
        whole = {"os": "linux", "created": _EPOCH} | self._whole | {"config": self._run}
        rootfs = self._whole.get("rootfs") or {}
        below = list(rootfs.get("diff_ids") or [])
        whole["rootfs"] = {"type": "layers", "diff_ids": [*below, *diff_ids]}
        if len(layer_history(self._whole)) == len(below):
            whole["history"] = [*(self._whole.get("history") or []), *self._history]
        else:  # it does not fit the base's layers, and a history that is wrong is refused
            whole.pop("history", None)
        return whole

    @property
    def _created(self) -> str:
        return str(self._whole.get("created") or _EPOCH)

    def _command(self, instruction: Instruction) -> list[str]:
        """CMD and ENTRYPOINT: a list as it is, a text for the shell."""
        if instruction.is_json:
            return list(instruction.words)
        return [*(self._run.get("Shell") or _SHELL), *instruction.words]

    # What each instruction does

    def _do_env(self, found: Instruction) -> None:
        self.add_env(parse_pairs(found.words))

    def _do_label(self, found: Instruction) -> None:
        self.label(parse_pairs(found.words))

    def _do_cmd(self, found: Instruction) -> None:
        self._run["Cmd"] = self._command(found) if found.words else []
        self._command_is_ours = True

    def _do_entrypoint(self, found: Instruction) -> None:
        self._run["Entrypoint"] = self._command(found) if found.words else None
        if not self._command_is_ours:
            self._run["Cmd"] = None

    def _do_workdir(self, found: Instruction) -> None:
        self._run["WorkingDir"] = resolve_workdir(self.folder, found.words[0])

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
            raise BadInstruction("SHELL is a list in JSON")
        self._run["Shell"] = list(found.words)

    def _do_maintainer(self, found: Instruction) -> None:
        self._whole["author"] = found.words[0]

    def _do_onbuild(self, found: Instruction) -> None:
        self._run["OnBuild"] = [*(self._run.get("OnBuild") or []), found.words[0]]

    def _do_healthcheck(self, found: Instruction) -> None:
        kind, _, rest = (found.words[0] if found.words else "").partition(" ")
        test = _test(kind.upper(), rest.strip())
        times = {
            _INTERVALS[name]: _nanoseconds(value)
            for name, value in found.flags
            if name in _INTERVALS
        }
        retries = found.flag("retries")
        if retries is not None:
            times["Retries"] = _whole_number(retries)
        self._run["Healthcheck"] = {"Test": test, **{k: v for k, v in times.items() if v}}

    def _do_arg(self, found: Instruction) -> None:
        """Counts for the instructions after it, and not for the image."""


_ACTS: Mapping[str, Callable[[ImageConfig, Instruction], None]] = {
    name.removeprefix("_do_").upper(): act
    for name, act in vars(ImageConfig).items()
    if name.startswith("_do_")
}


def _test(kind: str, command: str) -> list[str]:
    if kind == "NONE" and not command:
        return ["NONE"]
    if kind != "CMD" or not command:
        raise BadInstruction("HEALTHCHECK has the form `CMD command`, or is `NONE`")
    if command.startswith("["):
        try:
            return ["CMD", *map(str, json.loads(command))]
        except ValueError:
            pass  # it is a text for the shell then, as it is for Docker
    return ["CMD-SHELL", command]


def _nanoseconds(text: str) -> int:
    parts = _DURATION.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise BadInstruction(f"'{text}' is not a duration like 1m30s")
    return sum(round(float(number) * _NANOSECONDS[unit]) for number, unit in parts)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise BadInstruction(f"'{text}' is not a number of retries")
    return int(text)


def _ports(word: str) -> list[str]:
    """The ports that a word of EXPOSE means, as `80/tcp`."""
    found = _PORT.fullmatch(word)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not found or not first <= last <= 65535:
        raise BadInstruction(f"'{word}' is not a port, nor a range of ports")
    return [f"{port}/{(found[3] or 'tcp').lower()}" for port in range(first, last + 1)]
