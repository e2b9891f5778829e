"""How settings are called, where Prefect's names come from, and how their text is understood.

A table of `Name`s says what a group of settings is; `read` finds their values. Prefect derives the
names of a setting from its path of tables (`worker.query_seconds`, PREFECT_WORKER_QUERY_SECONDS),
and so does this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployctl.api.setting_sources import Source
from deployctl.core import redact
from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json


@dataclass(frozen=True, slots=True)
class SettingField:
    """How one setting is called in environments and files, and how its text is understood."""

    field: str
    toml: tuple[str, ...]
    parse: Callable[[Json], Any]
    wants: str = "text"
    """What a value has to be, for the message about one that is not."""
    secret: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def env(self) -> tuple[str, ...]:
        """The environment variables, in the order in which they are looked up."""
        return ("_".join(("PREFECT", *self.toml)).upper(), *self.aliases)


@dataclass(frozen=True, slots=True)
class SettingValues:
    """The settings of a table that are given somewhere."""

    values: Mapping[str, Any]
    """Field → value; a field that keeps its default is not in it."""
    sources: Mapping[str, str]
    """Field → where its value came from."""


def read_settings(
    names: Iterable[SettingField], places: Sequence[Source], flags: Mapping[str, Json] | None = None
) -> SettingValues:
    """Looks every setting of a table up: in `flags` (field → value, None: not given), in `places`.

    Raises SettingsError that names the source of what is wrong.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in names:
        hit = _look_up(name, places, flags or {})
        if hit is None:
            continue
        given, where, shown = hit
        value = _parse(name, given, where)
        if value is not None:
            values[name.field], sources[name.field] = value, shown
    return SettingValues(values, sources)


def _look_up(
    name: SettingField, places: Sequence[Source], flags: Mapping[str, Json]
) -> tuple[Json, str, str] | None:
    """What is given, where for the message about a wrong value, and where for `sources`."""
    if (flag := flags.get(name.field)) is not None:
        return flag, "the command line", f"--{name.field.replace('_', '-')}"
    for place in places:
        if (hit := place.get(name.toml, name.env)) is not None:
            key, value = hit
            return value, place.show(key), place.show(key)
    return None


def _parse(name: SettingField, value: Json, where: str) -> Any:
    """The value, or None where it is empty: an empty variable means the default."""
    if value is None or value == "":
        return None
    try:
        return name.parse(value)
    except (ValueError, TypeError):
        shown = "" if name.secret else f", not '{redact.redact(str(value))}'"
        raise SettingsError(
            f"the setting '{name.env[0]}' has to be {name.wants}{shown} (from {where})"
        ) from None


def text(value: Json) -> str | None:
    """Text without the white space that files and mounted secrets put at its end."""
    if not isinstance(value, str):
        raise ValueError
    return value.strip() or None


def header_text(value: Json) -> str | None:
    """Text that can stand in an HTTP header."""
    given = text(value)
    if given is not None and not (given.isascii() and given.isprintable()):
        raise ValueError
    return given


def url(value: Json) -> str | None:
    """An HTTP address without a slash at its end."""
    given = text(value)
    if given is None:
        return None
    scheme, _, rest = given.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/") or " " in given:
        raise ValueError
    return given.rstrip("/")


def flag(value: Json) -> bool:
    """One of the words that Prefect takes for true and false."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "on": True, "t": True, "y": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "f": False, "n": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def number(value: Json) -> float:
    """A finite number from 0 on."""
    given = float(value)
    if isinstance(value, bool) or not 0 <= given < float("inf"):
        raise ValueError
    return given


def seconds(value: Json) -> float:
    """A finite number above 0."""
    if (given := number(value)) == 0:
        raise ValueError
    return given


def count(value: Json) -> int:
    """A whole number from 0 on."""
    if (given := number(value)) != int(given):
        raise ValueError
    return int(given)


def words(value: Json) -> tuple[str, ...]:
    """A list, or text with commas between its items; each item once, in order."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def codes(value: Json) -> frozenset[int]:
    """Statuses as `"404,429"`, as one number or as a list."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, int) else parts
    found = frozenset(int(part) for part in parts if str(part).strip())
    if any(not 100 <= code <= 599 for code in found):
        raise ValueError
    return found


def headers(value: Json) -> dict[str, str]:
    """A mapping, or JSON text of one."""
    import json

    loaded = json.loads(value) if isinstance(value, str) else value
    if not isinstance(loaded, dict):
        raise ValueError
    return {header_text(name) or "": header_text(item) or "" for name, item in loaded.items()}
