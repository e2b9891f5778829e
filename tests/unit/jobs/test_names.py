from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slugify import slugify

from deployctl.jobs.names import annotation_key, default_image, label_key, label_value, name_slug


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Hello World! é", "hello-world-e"),
        ("日本", "ri-ben"),
        ("--a__b--", "a-b"),
        ("!!!", ""),
        ("caf&eacute;", "cafe"),
        ("", ""),
        ("x" * 44 + "-y", "x" * 44),
    ],
)
def test_names_are_slugged_as_in_prefect(text: str, slug: str) -> None:
    assert name_slug(text) == slug


@given(st.text())
def test_slug_is_a_valid_prefix_of_a_dns_label(text: str) -> None:
    assert re.fullmatch(r"|[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?", name_slug(text))


@given(st.text(st.characters(max_codepoint=127)))
def test_slug_without_transliteration_table_is_the_same(text: str) -> None:
    pattern = r"[^a-zA-Z0-9-_.]+"
    slug = slugify(text, lowercase=False, max_length=63, regex_pattern=pattern)
    assert label_value(text, keep_case=True) == (slug.strip("_-.") or text)


@pytest.mark.parametrize(
    ("text", "three", "two"),
    [
        ("Data Eng/µ", "Data-Eng-m", "data-eng-m"),
        ("---", "---", "---"),
        ("_a.b_", "a.b", "a.b"),
        ("b" * 62 + "-c", "b" * 62, "b" * 62),
        ("2026-11-21T15:00:00+00:00", "2026-11-21T15-00-00-00-00", "2026-11-21t15-00-00-00-00"),
    ],
)
def test_label_values(text: str, three: str, two: str) -> None:
    assert label_value(text, keep_case=True) == three
    assert label_value(text, keep_case=False) == two


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("My Key/na me!", "my-key/na-me"),
        ("plain key", "plain-key"),
        ("a/B/c", "a/B-c"),
        ("/x", "x"),
        ("prefect.io/flow-run-id", "prefect.io/flow-run-id"),
        ("x" * 300 + "/" + "y" * 70, "x" * 253 + "/" + "y" * 63),
    ],
)
def test_label_keys(text: str, key: str) -> None:
    assert label_key(text, keep_case=True) == key


def test_annotation_prefix_may_have_capitals() -> None:
    assert annotation_key("My Key/na me!", keep_case=True) == "My-Key/na-me"
    assert annotation_key("My Key/na me!", keep_case=False) == "my-key/na-me"


@pytest.mark.parametrize(
    ("version", "image"),
    [
        ("3.8.8", "prefecthq/prefect:3.8.8-python3.11"),
        ("2.20.26+1.gabc", "prefecthq/prefect:2.20.26-python3.11"),
        ("", "prefecthq/prefect:3-latest"),
    ],
)
def test_default_image(version: str, image: str) -> None:
    assert default_image(version) == image
