from __future__ import annotations

import pytest

from deployctl.core.suggest import closest, did_you_mean, quoted

TYPES = ("kubernetes", "docker", "process", "build-image")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("kuberntes", "kubernetes"),
        ("Docker", "docker"),
        ("build_image", "build-image"),
        ("PROCESS", "process"),
        ("docker", None),
        ("zzz", None),
        ("", None),
    ],
)
def test_finds_the_most_similar_other_name(name: str, found: str | None) -> None:
    assert closest(name, TYPES) == found
    assert did_you_mean(name, TYPES) == (found and f"Did you mean '{found}'?")


def test_a_difference_in_case_wins_over_a_similar_name() -> None:
    assert closest("KUBE", ["kubes", "kube"]) == "kube"


def test_quotes_names_for_a_message() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'"
