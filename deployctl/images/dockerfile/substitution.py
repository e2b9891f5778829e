"""Variable substitution and word splitting in Dockerfile lines, by Docker's rules.

They resemble a shell's but differ: the result of a substitution is not split, an unset variable is
empty, and the supported modifiers are `-`, `+` and `?`, each with or without a colon. Newer ones
(`#`, `%`, `/`) are rejected, because not every engine supports them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deployctl.core.errors import DeployctlError

_NAME = re.compile(r"[0-9]+|[@*#?\-$!]|[^\W\d]\w*")


class BadSubstitution(DeployctlError):
    """Invalid quotes or variables in a Dockerfile."""

    code = "DC704"


def substitute(
    text: str, values: Mapping[str, str], *, escape: str = "\\", quotes: bool = True
) -> str:
    """Replaces variables and removes quotes. Raises BadSubstitution.

    `quotes` False: quotes are literal characters, as in here-documents.
    """
    return _Substitution(text, values, escape, quotes).until("")


class _Substitution:
    """A scanner over one text."""

    def __init__(self, text: str, values: Mapping[str, str], escape: str, quotes: bool) -> None:
        self._text, self._values, self._escape, self._quotes = text, values, escape, quotes
        self._at = 0

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def until(self, end: str) -> str:
        """Substitutes up to the character `end`, or to the end of the text for ""."""
        result = ""
        while char := self._next():
            if char == end:
                return result
            if char == "$":
                result += self._variable()
            elif char == "'" and self._quotes:
                result += self._single_quoted()
            elif char == '"' and self._quotes:
                result += self._double_quoted()
            elif char == self._escape:
                result += self._next()
            else:
                result += char
        if end:
            raise self._error(f"missing '{end}'")
        return result

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise self._error("unterminated single quote")
        start, self._at = self._at, end + 1
        return self._text[start:end]

    def _double_quoted(self) -> str:
        escapable = ('"', "$", self._escape, "")
        result = ""
        while char := self._next():
            if char == '"':
                return result
            after = self._text[self._at : self._at + 1]
            if char == "$":
                result += self._variable()
            elif char == self._escape and after in escapable:
                result += after
                self._at += 1
            else:
                result += char
        raise self._error("unterminated double quote")

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found[0]

    def _variable(self) -> str:
        """The value of the variable after a `$`."""
        if self._text[self._at : self._at + 1] != "{":
            name = self._name()
            return self._values.get(name, "") if name else "$"
        self._at += 1
        name, modifier = self._name(), self._next()
        if not name:
            raise self._error("a variable has no name")
        value = self._values.get(name)
        if modifier == "}":
            return value or ""
        if modifier == ":":
            modifier, value = self._next(), value or None
        if modifier not in ("-", "+", "?") or not modifier:
            raise self._error(f"unsupported modifier '{modifier}' after '{name}'")
        word = self.until("}")
        if modifier == "+":
            return "" if value is None else word
        if value is None and modifier == "?":
            raise self._error(f"{name}: {word or 'is not set'}")
        return word if value is None else value

    def _error(self, reason: str) -> BadSubstitution:
        return BadSubstitution(f"cannot substitute variables in '{self._text}': {reason}")


def split_words(text: str, escape: str) -> list[str]:
    """Splits at whitespace outside quotes; quotes and escapes are kept."""
    any_escaped = rf"{re.escape(escape)}."
    plain = rf"""{any_escaped}|[^\s"'{re.escape(escape)}]"""
    double = rf'"(?:{any_escaped}|[^"])*(?:"|$)'
    found = re.finditer(rf"(?:{plain}|{double}|'[^']*(?:'|$))+", text, re.DOTALL)
    return [word[0] for word in found]


def split_flags(text: str) -> tuple[list[str], str]:
    """The leading `--flags` without their quotes, and the rest of the text."""
    flags, rest = [], text.strip()
    while rest.startswith("--"):
        word = split_words(rest, "\\")[0]
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        flags.append(re.sub(r"""\\(.)|["']""", r"\1", word))
    return flags, rest


def heredoc_words(text: str) -> list[str]:
    """The words of a line that may start a here-document."""
    return [word for word in split_words(text, "\\") if "<<" in word]
