"""The words of a Dockerfile's line: quotes, escapes and variables, as Docker treats them.

Docker's rules resemble a shell's and are not: nothing is split after a variable was substituted, a
variable that is not set is empty, and of the forms with braces there are `-`, `+` and `?` with and
without a colon. Newer ones (`#`, `%`, `/`) are refused, because not every engine has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployctl.core.errors import DeployctlError

_NAME = re.compile(r"[0-9]+|[@*#?\-$!]|[^\W\d]\w*")


class BadSubstitution(DeployctlError):
    """A text with quotes or variables that Docker would not take."""

    code = "DC704"


def substitute(
    text: str, values: Mapping[str, str], *, escape: str = "\\", quotes: bool = True
) -> str:
    """The text with its variables replaced and its quotes gone. Raises BadSubstitution.

    `quotes` false: quotes mean nothing and stay, as in here documents.
    """
    return _Substitution(text, values, escape, quotes).until("")


class _Substitution:
    """One text on its way from left to right."""

    def __init__(self, text: str, values: Mapping[str, str], escape: str, quotes: bool) -> None:
        self._text, self._values, self._escape, self._quotes = text, values, escape, quotes
        self._at = 0

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def until(self, stop: str) -> str:
        """All up to a character, or to the end for ""."""
        result = ""
        while char := self._next():
            if char == stop:
                return result
            if char == "$":
                result += self._dollar()
            elif char == "'" and self._quotes:
                result += self._single()
            elif char == '"' and self._quotes:
                result += self._double()
            elif char == self._escape:
                result += self._next()
            else:
                result += char
        if stop:
            raise self._bad(f"a '{stop}' is missing")
        return result

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise self._bad("a single quote has no partner")
        start, self._at = self._at, end + 1
        return self._text[start:end]

    def _double(self) -> str:
        result = ""
        while char := self._next():
            if char == '"':
                return result
            if char == "$":
                result += self._dollar()
            elif char == self._escape and (after := self._text[self._at : self._at + 1]) in (
                '"',
                "$",
                self._escape,
                "",
            ):
                result += after
                self._at += 1
            else:
                result += char
        raise self._bad("a double quote has no partner")

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found[0]

    def _dollar(self) -> str:
        if self._text[self._at : self._at + 1] != "{":
            name = self._name()
            return self._values.get(name, "") if name else "$"
        self._at += 1
        name, modifier = self._name(), self._next()
        if not name:
            raise self._bad("a variable has no name")
        value = self._values.get(name)
        if modifier == "}":
            return value or ""
        if modifier == ":":
            modifier, value = self._next(), value or None
        if modifier not in ("-", "+", "?") or not modifier:
            raise self._bad(f"'{modifier}' after '{name}' is not known")
        word = self.until("}")
        if modifier == "+":
            return "" if value is None else word
        if value is None and modifier == "?":
            raise self._bad(f"{name}: {word or 'is not set'}")
        return word if value is None else value

    def _bad(self, reason: str) -> BadSubstitution:
        return BadSubstitution(f"'{self._text}' cannot be read: {reason}")


def split_words(text: str, escape: str) -> list[str]:
    """Splits at blanks outside quotes; quotes and escapes stay as they are written."""
    any_escaped = rf"{re.escape(escape)}."
    plain = rf"""{any_escaped}|[^\s"'{re.escape(escape)}]"""
    double = rf'"(?:{any_escaped}|[^"])*(?:"|$)'
    found = re.finditer(rf"(?:{plain}|{double}|'[^']*(?:'|$))+", text, re.DOTALL)
    return [word[0] for word in found]


def split_flags(text: str) -> tuple[list[str], str]:
    """The `--flags` at the beginning, without their quotes, and what comes after them."""
    flags, rest = [], text.strip()
    while rest.startswith("--"):
        word = split_words(rest, "\\")[0]
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        flags.append(re.sub(r"""\\(.)|["']""", r"\1", word))
    return flags, rest


def heredoc_words(text: str) -> list[str]:
    """The words of a line that could begin a here document."""
    return [word for word in split_words(text, "\\") if "<<" in word]
