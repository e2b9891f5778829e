"""Quotes and variables of a Dockerfile. Expected values are those of BuildKit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.images.dockerfile.substitution import (
    BadSubstitution,
    split_flags,
    split_words,
    substitute,
)

VALUES = {"A": "va l", "E": "", "A1": "w", "_x": "us"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A", "va l"),
        ("${A}b", "va lb"),
        ("$A1", "w"),
        ("$U", ""),
        ("${U}", ""),
        ("$_x-", "us-"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ a", "$ a"),
        ("$$A", "A"),
        ("$1a", "a"),
        (r"\$A", "$A"),
        (r"\\$A", r"\va l"),
        ("'$A'", "$A"),
        ('"$A"', "va l"),
        (r'"\$A\"\\\n"', r'$A"\\n'),
        (r"'a\'", "a\\"),
        ("'a'\"b\"c", "abc"),
        ("a\\", "a"),
        ("${U:-d}", "d"),
        ("${U-d}", "d"),
        ("${E:-d}", "d"),
        ("${E-d}", ""),
        ("${A:-d}", "va l"),
        ("${A:+y}", "y"),
        ("${E:+y}", ""),
        ("${E+y}", "y"),
        ("${U+y}", ""),
        ("${A:?no}", "va l"),
        ("${E?no}", ""),
        ("${U:-$A}", "va l"),
        ("${U:-${E:-x}}", "x"),
        ("${U:-'}'}", "}"),
        (r"${U:-\}}", "}"),
    ],
)
def test_substitution(text: str, result: str) -> None:
    assert substitute(text, VALUES) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("'a", "single quote"),
        ('"a', "double quote"),
        ("${", "no name"),
        ("${}", "no name"),
        ("${A", "unsupported modifier"),
        ("${A:-x", "missing '}'"),
        ("${U:?why not}", "U: why not"),
        ("${E:?}", "E: is not set"),
        ("${A#v}", "'#' after 'A'"),
        ("${A:=x}", "'=' after 'A'"),
    ],
)
def test_invalid_substitution_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(BadSubstitution, match=reason.replace("{", r"\{")):
        substitute(text, VALUES)


def test_backtick_as_escape_character() -> None:
    assert substitute(r"`$A\$A", VALUES, escape="`") == r"$A\va l"


def test_quotes_are_literal_in_here_documents() -> None:
    assert substitute("it's $A \"x", VALUES, quotes=False) == "it's va l \"x"


@given(st.text(st.characters(exclude_characters="$\\'\"")))
def test_plain_text_is_unchanged(text: str) -> None:
    assert substitute(text, VALUES) == text


@given(st.text())
def test_single_quotes_prevent_substitution(text: str) -> None:
    bare = text.replace("'", "")
    assert substitute(f"'{bare}'", VALUES) == bare


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" a  b\tc ", ["a", "b", "c"]),
        ("a='b c' d", ["a='b c'", "d"]),
        (r"a=b\ c d", [r"a=b\ c", "d"]),
        (r'a="b \" c" d', [r'a="b \" c"', "d"]),
        ("a='b c", ["a='b c"]),
    ],
)
def test_words_are_split_outside_quotes(text: str, words: list[str]) -> None:
    assert split_words(text, "\\") == words


@pytest.mark.parametrize(
    ("text", "flags", "rest"),
    [
        ("a b", [], "a b"),
        ("--a=b --c d --e", ["--a=b", "--c"], "d --e"),
        ('--chown="u:g" x', ["--chown=u:g"], "x"),
        ("-- --a x", [], "--a x"),
    ],
)
def test_leading_flags_are_split_off(text: str, flags: list[str], rest: str) -> None:
    assert split_flags(text) == (flags, rest)
