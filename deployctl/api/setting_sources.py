"""The sources of Prefect's settings, each a lookup that says where it found a value.

The environment, `.env` and profiles name a setting by its variable, TOML files by a path of tables:
`PREFECT_API_URL`, `api.url`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json

_BUILT_IN_PROFILES: Mapping[str, Mapping[str, Json]] = {
    "local": {"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
    "ephemeral": {},
    "test": {},
    "cloud": {},
}
"""Prefect's built-in profiles. The ephemeral server of Prefect is not supported, so `ephemeral` has
no URL."""

_COMMENT = re.compile(r"\s*(#.*)?\s*")
_PREFECT_LINE = re.compile(r"\s*(export\s+)?PREFECT_", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One source of settings."""

    label: str
    """Its name in messages: "the environment", "/home/me/project/prefect.toml"."""
    values: Mapping[str, Json]
    tables: bool = False
    """Whether settings are looked up by their path of tables instead of variable names."""

    def get(self, path: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, Json] | None:
        """Returns the setting's name in this source and its value; None if it isn't set."""
        if self.tables:
            value = _get_path(self.values, path)
            return None if value is None else (".".join(path), value)
        for name in names:
            if (value := self.values.get(name)) is not None:
                return name, value
        return None

    def describe(self, key: str) -> str:
        """Where the setting with this name is set, for messages."""
        return f"'{key}' in {self.label}"


def find_sources(
    environ: Mapping[str, str], folder: Path, profile: str | None
) -> tuple[Source, ...]:
    """Returns the sources that exist, in order of precedence.

    `profile` overrides PREFECT_PROFILE and the active profile of `profiles.toml`. Raises
    SettingsError for a file that cannot be read and for a profile that does not exist.
    """
    variables = Source("the environment", {name.upper(): text for name, text in environ.items()})
    dotenv = _dotenv(folder / ".env", environ)
    prefect_toml = _toml(folder / "prefect.toml", ())
    pyproject = _toml(folder / "pyproject.toml", ("tool", "prefect"))
    sources = tuple(
        source for source in (variables, dotenv, prefect_toml, pyproject) if source is not None
    )
    profiles = _profiles_file(sources, variables.values, folder)
    return (*sources, _profile(profiles, profile or variables.values.get("PREFECT_PROFILE")))


def _get_path(tables: Json, path: tuple[str, ...]) -> Json:
    for key in path:
        tables = tables.get(key) if isinstance(tables, Mapping) else None
    return tables


def _profiles_file(sources: tuple[Source, ...], environ: Mapping[str, Json], folder: Path) -> Path:
    home = _expand_home(environ.get("PREFECT_HOME") or "~/.prefect")
    for source in sources:
        found = source.get(("profiles_path",), ("PREFECT_PROFILES_PATH",))
        if found is not None and found[1]:
            text = str(found[1]).replace("$PREFECT_HOME", str(home))
            return folder / _expand_home(text)
    return home / "profiles.toml"


def _expand_home(path: str) -> Path:
    """Expands `~`, if there is a home folder: in a container a user may have none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _profile(file: Path, requested: str | None) -> Source:
    data = _read_toml(file)
    profiles = {**_BUILT_IN_PROFILES, **_mapping(data.get("profiles"), file)}
    name = requested or data.get("active") or "ephemeral"
    if name not in profiles:
        known = ", ".join(f"'{each}'" for each in profiles)
        raise SettingsError(
            f"there is no profile '{name}' in '{file}'", help=f"Use one of {known}."
        )
    values = {key.upper(): value for key, value in _mapping(profiles[name], file).items()}
    return Source(f"the profile '{name}' of '{file}'", values)


def _mapping(value: Json, file: Path) -> Mapping[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"'{file}': profiles must be tables: [profiles.name]")
    return value


def _toml(file: Path, header: tuple[str, ...]) -> Source | None:
    values = _get_path(_read_toml(file), header)
    return Source(f"'{file}'", values, tables=True) if isinstance(values, Mapping) else None


def _read_toml(file: Path) -> Mapping[str, Json]:
    text = _read(file)
    if text is None:
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, position = str(error).partition(" (at ")
        line = re.search(r"line (\d+)", position)
        where = f"{file}:{line[1]}" if line else str(file)
        raise SettingsError(f"{where}: not valid TOML: {message}") from None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"cannot read '{file}': {reason}") from error


def _dotenv(file: Path, environ: Mapping[str, str]) -> Source | None:
    """Reads `.env` with python-dotenv, as Prefect does.

    Invalid lines are skipped, because other programs read that file too, unless they mention a
    setting of Prefect.
    """
    text = _read(file)
    if text is None:
        return None
    values: dict[str, str] = {}
    for name, value, line in _assignments(text, environ):
        if value is not None:
            values[name.upper()] = value
        elif _PREFECT_LINE.match(name):
            raise SettingsError(f"{file}:{line}: not an assignment (NAME=value)")
    return Source(f"'{file}'", values)


def read_env_file(file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables in a file of assignments, in the form of `.env`.

    Raises SettingsError if the file is missing or a line of it is not an assignment.
    """
    text = _read(file)
    if text is None:
        raise SettingsError(f"there is no file '{file}'", help="Correct the path of --env-file.")
    values: dict[str, str] = {}
    for name, value, line in _assignments(text, environ):
        if value is not None:
            values[name] = value
        elif name.strip():
            raise SettingsError(f"{file}:{line}: not an assignment (NAME=value)")
    return values


def _assignments(text: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str | None, int]]:
    """Name, value and line of each assignment; the text of a line and None where it is none."""
    from dotenv.parser import parse_stream
    from dotenv.variables import parse_variables

    known: dict[str, str | None] = dict(environ)
    for binding in parse_stream(StringIO(text)):
        if binding.key is not None and binding.value is not None:
            # References are expanded in quotes of either kind, unlike in a shell.
            value = "".join(atom.resolve(known) for atom in parse_variables(binding.value))
            known[binding.key] = value
            yield binding.key, value, binding.original.line
        elif not _COMMENT.fullmatch(binding.original.string):
            string = binding.original.string
            skipped = len(string) - len(string.lstrip())
            yield string, None, binding.original.line + string[:skipped].count("\n")
