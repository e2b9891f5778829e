"""Evaluation of a Dockerfile: variables, base images, stages."""

from __future__ import annotations

import pytest

from deployctl.images.dockerfile.parser import parse
from deployctl.images.dockerfile.stages import (
    BadDockerfile,
    BuildParameters,
    base_images,
    declared_args,
    expand_instructions,
    require_valid,
    stage_chain,
)
from deployctl.images.dockerfile.substitution import BadSubstitution

GIVEN = BuildParameters({"V": "9", "W": "given"}, "linux/arm64/v8", "linux/amd64")


def images(text: str, target: str | None = None) -> list[str]:
    return [
        f"{base.image} {base.platform or ''}".strip()
        for base in base_images(parse(text), target, GIVEN)
    ]


@pytest.mark.parametrize(
    ("text", "target", "found"),
    [
        ("FROM a", None, ["a"]),
        ("FROM scratch", None, []),
        ("ARG V=1\nFROM a:$V", None, ["a:9"]),
        ("ARG U=1\nFROM a:${U}", None, ["a:1"]),
        ("ARG U=1\nARG X=$U.2\nFROM a:$X", None, ["a:1.2"]),
        ("FROM a:${U:-latest}", None, ["a:latest"]),
        ("FROM a AS x\nFROM b", None, ["b"]),
        ("FROM a AS x\nFROM b", "X", ["a"]),
        ("FROM a AS x\nFROM b", "0", ["a"]),
        ("FROM a AS x\nFROM x", None, ["a"]),
        ("FROM a AS x\nFROM b\nCOPY --from=x . .", None, ["a", "b"]),
        ("FROM a\nFROM b\nCOPY --from=0 . .", None, ["a", "b"]),
        ("FROM a\nCOPY --from=c:1 . .", None, ["a", "c:1"]),
        ("FROM a\nCOPY --from=a . .", None, ["a"]),
        ("FROM a AS a\nFROM b\nCOPY --from=A . .", None, ["a", "b"]),
        ("FROM a\nRUN --mount=type=bind,from=c,target=/x y", None, ["a", "c"]),
        ("FROM a\nRUN --mount=type=cache,target=/x y", None, ["a"]),
        ("FROM --platform=$BUILDPLATFORM a", None, ["a linux/amd64"]),
        ("FROM --platform=linux/$TARGETARCH a", None, ["a linux/arm64"]),
        ("FROM a AS b\nFROM b AS a\nFROM a", None, ["a"]),
    ],
)
def test_base_images_of_a_target(text: str, target: str | None, found: list[str]) -> None:
    assert images(text, target) == found


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        ("FROM a AS x", "y", "no stage 'y'"),
        ("FROM a", "1", "no stage '1'"),
        ("FROM $U", None, "image name is empty"),
    ],
)
def test_unknown_target_is_rejected(text: str, target: str | None, reason: str) -> None:
    with pytest.raises(BadDockerfile, match=reason):
        images(text, target)


def test_variable_in_from_flag_is_rejected() -> None:
    with pytest.raises(BadSubstitution, match="variables are not allowed"):
        images("ARG V=1\nFROM a\nCOPY --from=b:$V . .")


def test_first_problem_is_raised_with_its_position() -> None:
    with pytest.raises(BadDockerfile, match="Dockerfile:2:1: unknown instruction X"):
        require_valid(parse("FROM a\nX"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ENV A=1\nENV B=$A", ["A=1", "B=1"]),
        ("ENV A=1\nENV A=2 B=$A", ["A=1", "A=2 B=1"]),
        ("ENV A 'it is'  $BASE", ["A=it is  of the image"]),
        ('LABEL "a b"="$BASE"', ["a b=of the image"]),
        ("ARG V\nUSER $V", ["V", "9"]),
        ("USER ${V:-none}", ["none"]),
        ("ARG V=1\nUSER $V", ["V=1", "9"]),
        ("ARG U=1\nUSER $U", ["U=1", "1"]),
        ("ARG U\nUSER $U.", ["U", "."]),
        ("ARG GLOBAL\nUSER $GLOBAL", ["GLOBAL", "outer"]),
        ("USER $GLOBAL.", ["."]),
        ("ARG GLOBAL=inner\nUSER $GLOBAL", ["GLOBAL=inner", "inner"]),
        ("ARG TARGETARCH\nUSER $TARGETARCH", ["TARGETARCH", "arm64"]),
        ("ENV V=env\nARG V\nUSER $V", ["V=env", "V", "env"]),
        ("ARG V\nENV V=$V.1\nUSER $V", ["V", "V=9.1", "9.1"]),
        ("COPY '$V' \"$BASE\" c", ["$V of the image c"]),
        ("RUN echo $BASE", ["echo $BASE"]),
        ('CMD ["$BASE"]', ["$BASE"]),
        ("EXPOSE $PORT", ["80"]),
    ],
)
def test_variables_are_expanded_in_order(text: str, words: list[str]) -> None:
    parsed = parse(f"ARG GLOBAL=outer\nFROM a\n{text}")
    env = {"BASE": "of the image", "PORT": "80"}
    opening, *resolved = expand_instructions(parsed, parsed.stages, GIVEN, env)
    assert opening.keyword == "FROM"
    assert [" ".join(found.words) for found in resolved] == words


def test_flags_and_here_documents_are_expanded() -> None:
    text = "FROM a\nARG V\nCOPY --chown=$V --from=x <<E <<'F' /\n$V\nE\n$V\nF"
    found = list(expand_instructions(parse(text), parse(text).stages, GIVEN, {}))[-1]
    assert found.flags == (("chown", "9"), ("from", "x"))
    assert [each.content for each in found.heredocs] == ["9\n", "$V\n"]


def test_stage_inherits_variables_of_its_base_stage() -> None:
    parsed = parse("FROM a AS x\nARG V\nENV E=1\nFROM b AS y\nFROM x\nUSER $V$E")
    base, stages = stage_chain(parsed, None, GIVEN)
    assert (base.image, len(stages)) == ("a", 2)
    resolved = list(expand_instructions(parsed, stages, GIVEN, {}))
    assert [found.keyword for found in resolved] == ["FROM", "ARG", "ENV", "FROM", "USER"]
    assert resolved[-1].words == ("91",)


def test_declared_build_arguments() -> None:
    assert declared_args(parse("ARG A=1 B\nFROM a\nARG C")) == {"A", "B", "C"}
