"""Image references."""

from __future__ import annotations

import pytest

from deployctl.images.model import Image
from deployctl.images.reference import BadReference, ImageReference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("python", "docker.io/library/python", "python"),
        ("python:3.11", "docker.io/library/python:3.11", "python:3.11"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("docker.io/python", "docker.io/library/python", "python"),
        ("index.docker.io/team/app:1", "docker.io/team/app:1", "team/app:1"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app"),
        ("host:5000/team/app:1", "host:5000/team/app:1", "host:5000/team/app:1"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("Registry/app", "Registry/app", "Registry/app"),
        ("ghcr.io/a/b_c/d--e:X_y.z-1", "ghcr.io/a/b_c/d--e:X_y.z-1", "ghcr.io/a/b_c/d--e:X_y.z-1"),
        ("app@" + DIGEST, "docker.io/library/app@" + DIGEST, "app@" + DIGEST),
        ("app:1@" + DIGEST, "docker.io/library/app:1@" + DIGEST, "app:1@" + DIGEST),
        ("a" * 64 + ":1", "docker.io/library/" + "a" * 64 + ":1", "a" * 64 + ":1"),
    ],
)
def test_reference_is_parsed_as_by_docker(text: str, whole: str, familiar: str) -> None:
    reference = ImageReference.parse(text)
    assert (str(reference), reference.familiar()) == (whole, familiar)
    assert ImageReference.parse(whole) == ImageReference.parse(familiar) == reference


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a" * 64, "an image id"),
        ("team/App", "lower case"),
        ("App", "lower case"),
        ("a/b/", "invalid repository 'a/b/'"),
        ("a//b", "invalid repository"),
        ("a___b", "invalid repository"),
        ("é", "invalid repository"),
        ("-host.io/app", "invalid registry '-host.io'"),
        ("host:port/app", "invalid registry"),
        ("app:", "invalid tag ''"),
        ("app:-1", "invalid tag '-1'"),
        ("app:" + "1" * 129, "invalid tag"),
        ("app@sha256:12", "invalid digest"),
        ("app@", "invalid digest ''"),
        ("x.io/" + "a" * 256, "255 characters"),
        ("https://x.io/app", "invalid registry"),
    ],
)
def test_invalid_reference_is_rejected_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadReference, match=reason):
        ImageReference.parse(text)


def test_image_with_a_digest_is_pinned() -> None:
    assert Image("x.io/app", "1").pinned == "x.io/app:1"
    assert Image("x.io/app", "1", DIGEST).pinned == f"x.io/app:1@{DIGEST}"
