"""The places where Prefect keeps settings, each as a lookup that says where it found a value.

Environment-like places (environment, `.env`, profiles) know a setting by the names of its
variables, TOML files by a path of tables: `PREFECT_API_URL`, `api.url`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json

_BUILT_IN: Mapping[str, Mapping[str, Json]] = {
    "local": {"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
    "ephemeral": {},
    "test": {},
    "cloud": {},
}
"""The profiles that Prefect has without a file; a server of its own making is not one of ours."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place."""

    label: str
    """Where it is, for messages: "the environment", "/home/me/project/prefect.toml"."""
    values: Mapping[str, Json]
    tables: bool = False
    """Whether settings are looked up by a path of tables instead of variable names."""

    def get(self, path: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, Json] | None:
        """The setting's name here and its value; None where it is not given."""
        if self.tables:
            value = _at(self.values, path)
            return None if value is None else (".".join(path), value)
        for name in names:
            if (value := self.values.get(name)) is not None:
                return name, value
        return None

    def show(self, key: str) -> str:
        """Where the setting with this name here stands."""
        return f"'{key}' in {self.label}"


def find_sources(
    environ: Mapping[str, str], folder: Path, profile: str | None
) -> tuple[Source, ...]:
    """Every place that is there, the first to be asked first.

    `profile` overrides PREFECT_PROFILE and the profile that `profiles.toml` calls active. Raises
    SettingsError for a file that cannot be read and a profile that does not exist.
    """
    variables = Source("the environment", {name.upper(): text for name, text in environ.items()})
    dotenv = _dotenv(folder / ".env", variables.values)
    own = _toml(folder / "prefect.toml", ())
    project = _toml(folder / "pyproject.toml", ("tool", "prefect"))
    above = tuple(source for source in (variables, dotenv, own, project) if source is not None)
    file = _profiles_file(above, variables.values, folder)
    return (*above, _profile(file, profile or variables.values.get("PREFECT_PROFILE")))


def _at(tables: Json, path: tuple[str, ...]) -> Json:
    for key in path:
        tables = tables.get(key) if isinstance(tables, Mapping) else None
    return tables


def _profiles_file(above: tuple[Source, ...], environ: Mapping[str, Json], folder: Path) -> Path:
    home = _expanded(environ.get("PREFECT_HOME") or "~/.prefect")
    for source in above:
        hit = source.get(("profiles_path",), ("PREFECT_PROFILES_PATH",))
        if hit is not None and hit[1]:
            text = str(hit[1]).replace("$PREFECT_HOME", str(home))
            return folder / _expanded(text)
    return home / "profiles.toml"


def _expanded(path: str) -> Path:
    """With the home folder for `~`, if there is one: in a container, a user may have none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _profile(file: Path, asked: str | None) -> Source:
    data = _read_toml(file)
    profiles = {**_BUILT_IN, **_mapping(data.get("profiles"), file)}
    name = asked or data.get("active") or "ephemeral"
    if name not in profiles:
        known = ", ".join(f"'{each}'" for each in profiles)
        raise SettingsError(
            f"there is no profile '{name}' in '{file}'", help=f"There are: {known}."
        )
    values = {key.upper(): value for key, value in _mapping(profiles[name], file).items()}
    return Source(f"the profile '{name}' of '{file}'", values)


def _mapping(value: Json, file: Path) -> Mapping[str, Json]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SettingsError(f"'{file}': profiles have to be tables: [profiles.name]")
    return value


def _toml(file: Path, header: tuple[str, ...]) -> Source | None:
    values = _at(_read_toml(file), header)
    return Source(f"'{file}'", values, tables=True) if isinstance(values, Mapping) else None


def _read_toml(file: Path) -> Mapping[str, Json]:
    text = _read(file)
    if text is None:
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).partition(" (at ")
        line = re.search(r"line (\d+)", place)
        where = f"{file}:{line[1]}" if line else str(file)
        raise SettingsError(f"{where}: not valid TOML: {what}") from None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(f"cannot read '{file}': {why}") from error


_ASSIGNMENT = re.compile(r"""(?:export\s+)?(?P<name>\w+)\s*=\s*(?P<text>.*)""")
_QUOTED = re.compile(r"""(?P<mark>['"])(?P<text>(?:\\.|(?!(?P=mark)).)*)(?P=mark)\s*(?:#.*)?""")
_REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _dotenv(file: Path, environ: Mapping[str, Json]) -> Source | None:
    """Assignments of `.env`. Lines that are not about Prefect may be of any form: other programs
    read that file too."""
    text = _read(file)
    if text is None:
        return None
    values = dict(_assignments(file, text, environ))
    return Source(f"'{file}'", values)


def _assignments(file: Path, text: str, environ: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    known = dict(environ)
    for number, line in enumerate(text.splitlines(), start=1):
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None:
            if re.match(r"\s*(export\s+)?PREFECT_", line, re.IGNORECASE):
                raise SettingsError(f"{file}:{number}: not of the form NAME=value")
            continue
        name, value = match["name"].upper(), match["text"]
        if value[:1] in ("'", '"'):
            quoted = _QUOTED.fullmatch(value)
            if quoted is None:
                if name.startswith("PREFECT_"):
                    raise SettingsError(f"{file}:{number}: a quotation mark is missing")
                continue
            value = quoted["text"]
            if quoted["mark"] == '"':
                value = _expand(re.sub(r'\\(["\\$])', r"\1", value), known)
        else:
            value = _expand(re.split(r"\s+#", value)[0].strip(), known)
        known[name] = value
        yield name, value


def _expand(text: str, known: Mapping[str, Json]) -> str:
    """`${NAME}` and `${NAME:-else}`, from the environment and the lines above."""
    return _REFERENCE.sub(lambda match: str(known.get(match[1].upper(), match[2] or "")), text)
