"""What a plain YAML 1.1 scalar means, as PyYAML's `safe_load` resolves it, in JSON's types.

Prefect reads its file with PyYAML, so `on` is true, `0777` is 511, `1e3` is text, and `1:30` is 90.
JSON has no dates; they become the text that Prefect sends for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone

from deployctl.core.json_values import Json

_TRUTH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_BOOLEANS = {
    form: value
    for word, value in _TRUTH.items()
    for form in (word, word.capitalize(), word.upper())
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*(?::[0-5]?[0-9])*)", re.ASCII
)
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?"
    r"(?:[ \t]*(?:(Z)|([-+])(\d\d?)(?::(\d\d))?))?",
    re.ASCII,
)
_MAY_BE_SPECIAL = frozenset("-+.0123456789yYnNtTfFoO~")


def resolve(text: str) -> Json:
    """The value of an unquoted scalar. Infinite numbers and NaN come back as floats."""
    if not text or text[0] in _MAY_BE_SPECIAL:
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        for pattern, construct in _CONSTRUCTORS:
            if pattern.fullmatch(text):
                try:
                    return construct(text)
                except (ValueError, OverflowError):
                    return text
    return text


def _integer(text: str) -> int:
    sign, digits = _signed(text)
    if digits.startswith("0b"):
        return sign * int(digits[2:], 2)
    if digits.startswith("0x"):
        return sign * int(digits[2:], 16)
    if digits.startswith("0") and len(digits) > 1:
        return sign * int(digits, 8)
    return sign * int(_sexagesimal(digits, int))


def _float(text: str) -> float:
    sign, digits = _signed(text.lower())
    if digits in (".inf", ".nan"):
        return sign * float(digits[1:])
    return sign * _sexagesimal(digits, float)


def _signed(text: str) -> tuple[int, str]:
    return (-1 if text.startswith("-") else 1), text.lstrip("+-").replace("_", "")


def _sexagesimal(digits: str, number: Callable[[str], float]) -> float:
    total: float = 0
    for part in digits.split(":"):
        total = total * 60 + number(part)
    return total


def _date(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def _moment(text: str) -> str:
    found = _MOMENT.fullmatch(text)
    assert found
    fraction = int((found[7] or "0")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = (int(found[part]) for part in range(1, 7))
    moment = datetime(year, month, day, hour, minute, second, fraction)
    if found[8]:
        return f"{moment.isoformat()}Z"
    if not found[9]:
        return moment.isoformat()
    offset = timedelta(hours=int(found[10]), minutes=int(found[11] or 0))
    zone = timezone(-offset if found[9] == "-" else offset)
    return moment.replace(tzinfo=zone).isoformat().replace("+00:00", "Z")


_CONSTRUCTORS: tuple[tuple[re.Pattern[str], Callable[[str], Json]], ...] = (
    (_INTEGER, _integer),
    (_FLOAT, _float),
    (_DATE, _date),
    (_MOMENT, _moment),
)
