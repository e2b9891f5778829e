from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import leaves
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from deployctl.templating.render import Scope, Treatment, render
from deployctl.templating.values import Unknown, contains_unknown

OUTPUTS = {
    "build-image": {"tag": "1.2", "size": 7, "layers": [{"id": "a"}, {"id": "b"}]},
    "tag": "1.2",
    "stdout": "from the step",
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ build-image.tag }}", "1.2"),
        ("{{ tag }}", "1.2"),
        ("{{ build-image.size }}", 7),
        ("{{ build-image.layers }}", [{"id": "a"}, {"id": "b"}]),
        ("{{ build-image.layers[1].id }}", "b"),
        ("app:{{ build-image.size }}", "app:7"),
        (" {{ build-image.size }}", " 7"),
        ("{{ tag }}-{{ tag }}", "1.2-1.2"),
        (["{{ tag }}", "x"], ["1.2", "x"]),
        ({"{{ tag }}": "{{ tag }}"}, {"{{ tag }}": "1.2"}),
        ("{{ $HOME }}/x", "/home/me/x"),
        ("{{ HOME }}", "/home/me"),
        ("{{ stdout }}", "from the step"),
        ("{{ $stdout }}", "from the environment"),
        ("{{ ctx.flow.name }}", "{{ ctx.flow.name }}"),
        ("{{ a | upper }} {{ tag }}", "{{ a | upper }} 1.2"),
        (1.5, 1.5),
        (None, None),
    ],
)
def test_placeholders_become_values(template: Any, expected: Any) -> None:
    scope = Scope({"HOME": "/home/me", "stdout": "from the environment"}, OUTPUTS)
    assert render(template, scope) == (expected, [])


@pytest.mark.parametrize("template", ["{{ $X }}", "{{ x.y }}", "a {{ prefect.variables.v }}"])
def test_keeps_placeholders_without_a_source(template: str) -> None:
    assert render([template, {"k": template}], Scope()) == ([template, {"k": template}], [])


def test_outputs_of_steps_precede_environment_variables() -> None:
    assert render("{{ X }}", Scope({"X": "env"})) == ("{{ X }}", [])
    assert render("{{ X }}", Scope({"X": "env"}, {"X": "step"})) == ("step", [])
    assert render("{{ X }}", Scope({"X": "env"}, {})) == ("env", [])


@pytest.mark.parametrize(
    ("template", "code", "said"),
    [
        ("{{ $NOPE }}", "DC302", "'NOPE' is not set"),
        ("{{ build-image.digest }}", "DC303", "'build-image' has no output 'digest'"),
        ("{{ build-image.layers[9] }}", "DC303", "has no output 'layers[9]'"),
        ("{{ nope }}", "DC303", "no step has the output 'nope'"),
        ("{{ prefect.variables.nope }}", "DC304", "no variable 'nope'"),
    ],
)
def test_a_missing_value_is_a_problem_with_path_and_name(
    template: str, code: str, said: str
) -> None:
    scope = Scope({}, OUTPUTS, ReferenceValues({}))
    value, (problem,) = render({"tags": ["a", template]}, scope)
    assert value == {"tags": ["a", template]}
    assert problem.path == ("tags", 1)
    assert problem.code == code
    assert said in problem.message
    assert problem.message.startswith("tags[1]: ")
    assert problem.help


def test_help_lists_the_outputs_of_a_step() -> None:
    _, (problem,) = render("{{ build-image.digest }}", Scope({}, OUTPUTS))
    assert problem.help == "It has 'tag', 'size', 'layers'."


def test_an_unknown_value_stays_unknown_in_text() -> None:
    unknown = Unknown("build-image", "image")
    scope = Scope({}, {"build-image": {"image": unknown}})
    value, problems = render(
        {
            "whole": "{{ build-image.image }}",
            "part": "docker://{{ build-image.image }}",
            "below": "{{ build-image.image.name }}",
        },
        scope,
    )
    assert value == {"whole": unknown, "part": unknown, "below": unknown}
    assert problems == []
    assert contains_unknown(value)
    assert str(unknown) == "(known after build)"


def test_a_rule_decides_by_path_and_kind() -> None:
    def rule(path: tuple[str | int, ...], kind: PlaceholderKind) -> Treatment:
        if path[0] == "kept":
            return Treatment.KEEP
        return Treatment.OFFER if kind is PlaceholderKind.STEP else Treatment.RESOLVE

    template = {
        "kept": "{{ tag }}",
        "offered": ["{{ tag }}", "{{ clone.directory }}", "{{ HOME }}"],
    }
    value, problems = render(template, Scope({"HOME": "/home/me"}, {"tag": "1"}), rule)
    assert value == {
        "kept": "{{ tag }}",
        "offered": ["1", "{{ clone.directory }}", "{{ HOME }}"],
    }
    assert problems == []


plain = st.text(st.characters(exclude_characters="{}"), max_size=8)
name = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
template = st.one_of(
    plain,
    st.builds("{{{{ {} }}}}".format, name),
    st.builds("{}{{{{ ${} }}}}{}".format, plain, name, plain),
    st.builds("{{{{ s.{} }}}}".format, name),
)
scalar = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), plain)
document = st.recursive(
    st.one_of(scalar, template),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(plain, template), inner, max_size=4)
    ),
    max_leaves=20,
)
values = st.dictionaries(name, scalar, max_size=4)
scopes = st.builds(
    Scope,
    st.none() | st.dictionaries(name, plain, max_size=4),
    st.none() | values | st.builds(lambda flat: {**flat, "s": flat}, values),
)


def _holds(written: Any, rendered: Any) -> bool:
    """Whether every key and every list item of what was written is there once rendered."""
    if isinstance(written, dict):
        return written.keys() == rendered.keys() and all(
            _holds(item, rendered[key]) for key, item in written.items()
        )
    if isinstance(written, list):
        return len(written) == len(rendered) and all(map(_holds, written, rendered))
    return True


@given(document, scopes)
def test_rendering_twice_changes_nothing(value: Any, scope: Scope) -> None:
    once, problems = render(value, scope)
    assert render(once, scope) == (once, problems)


@given(document, scopes)
def test_keeps_all_keys_and_items(value: Any, scope: Scope) -> None:
    assert _holds(value, render(value, scope)[0])


@given(document, scopes)
def test_a_problem_has_the_path_of_its_template(value: Any, scope: Scope) -> None:
    rendered, problems = render(value, scope)
    unresolved = {path for path, leaf in leaves(rendered) if isinstance(leaf, str) and "{{" in leaf}
    assert {problem.path for problem in problems} <= unresolved


@given(st.recursive(scalar, lambda inner: st.lists(inner) | st.dictionaries(plain, inner)), scopes)
def test_keeps_values_without_braces(value: Any, scope: Scope) -> None:
    assert render(value, scope) == (value, [])


@given(scalar)
def test_a_whole_placeholder_keeps_the_type_of_its_value(value: Any) -> None:
    result, _ = render("{{ s.x }}", Scope(outputs={"s": {"x": value}}))
    assert result == value
    assert type(result) is type(value)
