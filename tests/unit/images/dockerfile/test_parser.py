"""Dockerfile parser."""

from __future__ import annotations

import pytest

from deployctl.images.dockerfile.parser import Heredoc, Instruction, parse


def first(text: str) -> Instruction:
    """The first instruction after FROM."""
    return parse(f"FROM a\n{text}").stages[0].instructions[0]


@pytest.mark.parametrize(
    ("text", "keyword", "words"),
    [
        ("copy a  b\tc", "COPY", ["a", "b", "c"]),
        ('COPY ["a b", "c"]', "COPY", ["a b", "c"]),
        ("COPY ['a', 'b']", "COPY", ["['a',", "'b']"]),
        ("RUN  make  all ", "RUN", ["make  all"]),
        ('CMD ["a", "b c"]', "CMD", ["a", "b c"]),
        ('CMD ["a", 1]', "CMD", ['["a", 1]']),
        ("ENV a=b c='d e'", "ENV", ["a=b", "c='d e'"]),
        ("ENV a b  c", "ENV", ["a=b  c"]),
        ('LABEL "x.y"=1', "LABEL", ['"x.y"=1']),
        ("ARG A B=c", "ARG", ["A", "B=c"]),
        ("WORKDIR /a b", "WORKDIR", ["/a b"]),
        ("EXPOSE 80 90/udp", "EXPOSE", ["80", "90/udp"]),
        ("RUN a \\\n  b", "RUN", ["a   b"]),
        ("RUN a \\\n# comment\n\n  b", "RUN", ["a   b"]),
        ("RUN a \\ \t\n b", "RUN", ["a  b"]),
        ("RUN a \\\\\nUSER b", "RUN", ["a \\\\"]),
        ("\n  # comment\n  USER me", "USER", ["me"]),
    ],
)
def test_instruction_words(text: str, keyword: str, words: list[str]) -> None:
    found = first(text)
    assert (found.keyword, list(found.words)) == (keyword, words)


def test_instruction_flags_and_lines() -> None:
    found = first("\nCOPY --from=b --chown=1:2 --link \\\n a \\\n b\n")
    assert found.flags == (("from", "b"), ("chown", "1:2"), ("link", ""))
    assert (found.flag("chown"), found.flag("link"), found.flag("chmod")) == ("1:2", "", None)
    assert (found.line, found.end_line) == (3, 5)


@pytest.mark.parametrize(
    ("text", "heredocs"),
    [
        ("RUN <<E\na $b\n\nE", [Heredoc("E", "a $b\n\n", expand=True)]),
        ("RUN <<-E\n\ta\n\t\tb\n\tE", [Heredoc("E", "a\nb\n", expand=True)]),
        ("COPY <<'E' /x\na\n E\nE", [Heredoc("E", "a\n E\n", expand=False)]),
        (
            "COPY <<A <<B /x/\n1\nA\n2\nB",
            [Heredoc("A", "1\n", expand=True), Heredoc("B", "2\n", expand=True)],
        ),
        ("RUN echo '<<E'", []),
        ('RUN ["<<E"]', []),
        ("ENV a=<<E", []),
    ],
)
def test_here_documents(text: str, heredocs: list[Heredoc]) -> None:
    parsed = parse(f"FROM a\n{text}\nUSER me")
    assert parsed.problems == ()
    assert list(parsed.stages[0].instructions[0].heredocs) == heredocs
    assert parsed.stages[0].instructions[-1].keyword == "USER"


def test_directives_are_read_at_the_top_only() -> None:
    parsed = parse("# syntax=docker/dockerfile:1\n#escape = `\nFROM a\nRUN b `\n c\\\nUSER d")
    assert parsed.directives == {"syntax": "docker/dockerfile:1", "escape": "`"}
    assert [found.words for found in parsed.stages[0].instructions] == [("b  c\\",), ("d",)]
    assert parse("# a comment\n# escape=`\nFROM a").directives == {}


def test_stages_have_images_names_and_platforms() -> None:
    parsed = parse("ARG V=1\nFROM --platform=linux/arm64 a:$V AS Build\nRUN x\nFROM build\nUSER y")
    assert [found.words for found in parsed.arguments] == [("V=1",)]
    assert [(s.image, s.name, s.platform, len(s.instructions)) for s in parsed.stages] == [
        ("a:$V", "build", "linux/arm64", 1),
        ("build", None, None, 1),
    ]


def test_crlf_and_byte_order_mark() -> None:
    parsed = parse("\ufeffFROM a\r\nRUN b \\\r\n c\r\n")
    assert parsed.stages[0].instructions[0].words == ("b  c",)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "no FROM instruction"),
        ("# only this", 1, "no FROM instruction"),
        ("FROM a\n\n  CPOY a b", 3, "unknown instruction CPOY"),
        ("RUN a\nFROM b", 1, "RUN before the first FROM"),
        ("FROM", 1, "FROM must have the form FROM image [AS name]"),
        ("FROM a b", 1, "FROM must have the form FROM image [AS name]"),
        ("FROM a AS 1b", 1, "invalid stage name '1b'"),
        ("FROM a\nCOPY b", 2, "COPY needs at least 2 arguments"),
        ("FROM a\nUSER", 2, "USER needs at least 1 argument"),
        ("FROM a\nENV b", 2, "ENV b has no value"),
        ("FROM a\nENV", 2, "ENV needs a name and a value"),
        ("FROM a\nLABEL b=1 c", 2, "'c' does not have the form name=value"),
        ("FROM a\nRUN <<E\nx", 2, "unterminated here-document <<E: no line is 'E'"),
        ("# escape=x\nFROM a", 1, "the escape character must be \\ or `"),
        ("# escape=`\n# escape=`\nFROM a", 2, "duplicate directive 'escape'"),
    ],
)
def test_problem_has_its_position(text: str, line: int, message: str) -> None:
    found = parse(text, "ci/Dockerfile").problems
    assert (found[0].code, found[0].message) == ("DC703", message)
    span = found[0].span
    assert span is not None
    assert (span.file, span.line) == ("ci/Dockerfile", line)


def test_all_problems_are_collected() -> None:
    assert len(parse("FROM a\nCPOY x\nUSER\nENV b").problems) == 3
