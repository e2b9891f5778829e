"""Values and positions of a YAML file, compared with `yaml.safe_load`, as Prefect reads it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, leaves
from deployctl.project.document import read_document
from tests.unit.project.reading import codes, document, only, parsed, text_at

SCALARS = """
yes Yes YES no on On off OFF true True TRUE y n tRue
~ null Null NULL nUll none
0 1 -1 +1 01 010 0777 08 09 0o17 0x1F -0xff 0b101 0b2 1_000 _1 1__0 12e3 -0 0_7
1.0 1.10 -1.5 +.5 .5 5. 1e3 1.0e3 1.0e+3 1.e+3 .5e-3 1_0.5 1.5_0 -.5 . .e1 1.2.3
1:30 190:20:30 1:60 01:30 0:30 1:30.5 -1:30 1:2:3.4 00:10:00
.Inf. inf nan .infinity 2024-01-01 2024-1-1 2024-02-31x 20240101
2024-01-01T10:00:00 2024-01-01T10:00:00Z 2024-01-01t1:00:00.5+08:00 2024-01-01T10:00:00-05:30
2024-01-01T10:00:00.1234567Z 2024-01-01T10:00:00+00:00
a -a :a a:b a#b 'yes' "1" '1.10' http://x:1/y ٣ １ 名前 é --- -- +
"""


def as_json(value: object) -> Json:
    """What pydantic's JSON mode, and so Prefect, makes of PyYAML's values."""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value


@pytest.mark.parametrize("scalar", SCALARS.split())
def test_reads_a_scalar_as_prefect_does(scalar: str) -> None:
    text = f"a: {scalar}"
    ours, theirs = document(text).data["a"], as_json(yaml.safe_load(text)["a"])
    assert (type(ours), ours) == (type(theirs), theirs)


def test_reads_a_timestamp_with_spaces() -> None:
    assert document("a: 2024-01-01 10:00:00 +8").data == {"a": "2024-01-01T10:00:00+08:00"}


def test_an_invalid_date_stays_text() -> None:
    assert document("a: 2024-02-31").data == {"a": "2024-02-31"}


@pytest.mark.parametrize(("written", "read"), [("1.10", 1.1), ("1.0", 1.0), ("0777", 511)])
def test_keeps_the_source_text_of_a_number(written: str, read: float) -> None:
    found = document(f"v: {written}  # version")
    assert found.data["v"] == read
    assert found.source(("v",)) == written


STRUCTURES = [
    "a: b#c",
    "a: [x:y]",
    "a: {b:c}",
    "a: {b: c, d}",
    "a: 'it''s'",
    'a: "x\\ty\\u540d\\/"',
    "a: >\n  x\n  y\n\n  z\n",
    "a: |+\n  x\n\n",
    "a: |-\n  {{ x }}\n\n",
    "a: |2\n    x\n",
    "? k\n: v",
    "a:\n- b\n- c: 1\n  d: 2\n-\n  e: 3",
    "a: x\n  y\n  z",
    'a: "x\n  y\n\n  z"',
    "a: [1,\n 2,\n]",
    "a: {b: http://x:80/y}",
    "%YAML 1.2\n---\na: yes\n...\n",
    "a: ?x\nb: [?x]",
    "a: !!float 1",
    "a: !!int '3'",
    "a: x {{ y }}",
    "a: {'<<': 1}",
    "a: [a, [b, {c: d}]]",
]


@pytest.mark.parametrize("text", STRUCTURES)
def test_reads_a_structure_as_prefect_does(text: str) -> None:
    assert document(text).data == yaml.safe_load(text)


MERGES = """
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: 9}
after: {b: 9, <<: *base}
many: {<<: [*base, *more]}
nested:
  <<: *more
  <<: *base
chain: &chain {<<: *base, d: 5}
again: {<<: *chain}
repeat: [*base, *more]
"""


def test_reads_anchors_and_merges_as_prefect_does() -> None:
    assert document(MERGES).data == yaml.safe_load(MERGES)


def test_a_merged_value_has_the_span_of_its_source() -> None:
    found = document(MERGES)
    assert str(found.spans.value(("one", "a"))) == "prefect.yaml:2:17"
    assert str(found.spans.value(("one", "b"))) == "prefect.yaml:4:21"
    assert str(found.spans.value(("again", "b"))) == "prefect.yaml:2:23"
    assert str(found.spans.key(("again", "b"))) == "prefect.yaml:2:20"
    assert str(found.spans.value(("repeat", 1, "c"))) == "prefect.yaml:3:23"


def test_a_missing_value_has_the_span_of_its_parent() -> None:
    found = document("a:\n  b: 1\n")
    assert str(found.spans.value(("a", "missing", 3))) == "prefect.yaml:2:3"
    assert str(found.spans.key(("a", "missing"))) == "prefect.yaml:2:3"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"])
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcdefgh-_ 名", min_size=1, max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(st.text("abcdefgh", min_size=1), json_values, min_size=1, max_size=4),
    st.sampled_from([None, True, False]),
    st.booleans(),
)
def test_every_leaf_has_the_span_of_its_text(data: Json, flow: bool | None, unicode: bool) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=unicode)
    found = document(text)
    assert found.data == data
    for path, value in leaves(found.data):
        span = found.spans.values[path]
        here = text_at(text, span)
        assert yaml.safe_load(here) == value or value in ([], {}), (path, here)


@pytest.mark.parametrize("size", [1, 1000])
def test_lists_all_spans(size: int) -> None:
    text = "\n".join(f"k{number}: [a, b]" for number in range(size))
    assert len(document(text).spans.values) == 3 * size + 1
    assert len(document(text).spans.keys) == size


WRONG = [
    ("a: [1\nb: 2", "DC103", "2:2"),
    ("a: b: c", "DC103", "1:5"),
    ("\ta: 1", "DC103", "1:1"),
    ("a: 'x\n", "DC103", "2:1"),
    ("a: @x", "DC103", "1:4"),
    ("# é\na: \x01", "DC103", "2:4"),
    ("a: {{ x }}", "DC104", "1:5"),
    ("a:\n  - {{ x }}", "DC104", "2:6"),
    ("a: {{ x }}/y", "DC104", "1:5"),
    ("a: {{ x.y }}:{{ z }}", "DC104", "1:5"),
    ("a: {b: x {{ y }}}", "DC104", "1:10"),
    ("a: &x 1\nb: &x 2", "DC106", "2:4"),
    ("a: 1\nb: 2\na: 3", "DC105", "3:1"),
    ("x: {a: 1, a: 2}", "DC105", "1:11"),
    ("a: *unset", "DC106", "1:4"),
    ("a: &a [*a]", "DC106", "1:8"),
    ("a: &a {b: {c: *a}}", "DC106", "1:15"),
    ("a: {<<: 1}", "DC106", "1:9"),
    ("a: {<<: [{x: 1}, 2]}", "DC106", "1:9"),
    ("a: !!binary aGk=", "DC107", "1:4"),
    ("a: !custom x", "DC107", "1:4"),
    ("a: !custom {b: 1}", "DC107", "1:4"),
    ("a: !!set {b, c}", "DC107", "1:4"),
    ("a: !!int x", "DC107", "1:4"),
    ("- a", "DC109", "1:1"),
    ("text", "DC109", "1:1"),
    ("a: 1\n---\nb: 2", "DC110", "2:1"),
    ("on: 1", "DC111", "1:1"),
    ("a: {1.50: x}", "DC111", "1:5"),
    ("a: .inf", "DC112", "1:4"),
    ("a: [.nan]", "DC112", "1:5"),
]


@pytest.mark.parametrize(("text", "code", "position"), WRONG)
def test_reports_each_error_once_at_its_position(text: str, code: str, position: str) -> None:
    _, report = parsed(text)
    found = only(report)
    assert (found.code, str(found.span)) == (code, f"prefect.yaml:{position}")


@pytest.fixture
def pure_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML without libyaml, as where it was built from source without a C compiler."""
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.usefixtures("pure_parser")
@pytest.mark.parametrize(("text", "code", "position"), WRONG)
def test_reports_the_same_without_libyaml(text: str, code: str, position: str) -> None:
    _, report = parsed(text)
    found = only(report)
    assert (found.code, str(found.span)) == (code, f"prefect.yaml:{position}")


@pytest.mark.usefixtures("pure_parser")
@pytest.mark.parametrize("text", [*STRUCTURES, MERGES])
def test_reads_the_same_without_libyaml(text: str) -> None:
    assert document(text).data == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "help_"),
    [
        ("a:\n\tb: 1", "Indent with spaces; YAML allows no tabs there."),
        ("a: @x", "Quote the value."),
        ("a: b: c", "Quote a value that contains ': ', or check the indentation."),
        ("a: [1\nb: 2", "Close the bracket, or put a comma between the items."),
        ("- a\nb: 1", "Check the indentation: keys of one mapping begin in the same column."),
    ],
)
@pytest.mark.parametrize("pure", [False, True])
def test_a_syntax_error_has_help(
    text: str, help_: str, pure: bool, request: pytest.FixtureRequest
) -> None:
    if pure:
        request.getfixturevalue("pure_parser")
    _, report = parsed(text)
    assert (only(report).code, only(report).help) == ("DC103", help_)


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~", "---\n...\n"])
def test_reports_an_empty_file(text: str) -> None:
    found, report = parsed(text)
    assert found is None
    assert codes(report) == ["DC108"]


def test_a_duplicate_key_shows_both_spans_and_the_last_wins() -> None:
    found, report = parsed("a: 1\nb: 2\na: 3\n")
    assert found is not None
    assert found.data == {"a": 3, "b": 2}
    ((first, text),) = only(report).related
    assert (str(first), text) == ("prefect.yaml:1:1", "first given here")


def test_reads_an_unquoted_template_as_text() -> None:
    found, _ = parsed("a: {{ build.image }}\nb: 1\n")
    assert found is not None
    assert found.data == {"a": "{{ build.image }}", "b": 1}


@pytest.mark.parametrize("tag", ["!!str 1", "! 1"])
def test_a_string_tag_makes_text_of_a_number(tag: str) -> None:
    assert document(f"a: {tag}").data == {"a": "1"}


def test_keys_become_json_text() -> None:
    found, _ = parsed("a: {1: x, true: y, 2024-01-01: z}")
    assert found is not None
    assert found.data == {"a": {"1": "x", "true": "y", "2024-01-01": "z"}}


def test_lines_and_columns_do_not_depend_on_line_ends_or_a_byte_order_mark() -> None:
    plain, windows = document("a: 1\nb:\n  c: é名\n"), document("\ufeffa: 1\r\nb:\r\n  c: é名\r\n")
    assert windows.data == plain.data == {"a": 1, "b": {"c": "é名"}}
    assert dict(windows.spans.values)["b", "c"] == dict(plain.spans.values)["b", "c"]


def test_refuses_deep_nesting() -> None:
    _, report = parsed("a: " + "[" * 5000 + "]" * 5000)
    assert codes(report) == ["DC113"]


def test_refuses_aliases_that_expand_without_limit() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    _, report = parsed("\n".join(lines))
    assert codes(report) == ["DC113"]


def test_reads_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: \xe5\x90\x8d\r\n")
    report = Report()
    found = read_document(path, report)
    assert found is not None
    assert (found.data, found.file, report.items) == ({"name": "名"}, str(path), [])


def test_reports_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    report = Report()
    assert read_document(tmp_path / "none.yaml", report) is None
    assert read_document(tmp_path, report) is None
    assert codes(report) == ["DC100", "DC101"]


@pytest.mark.parametrize(
    ("content", "byte", "place"),
    [
        (b"a: 1\nb: \xff\n", "byte 9", "2:4"),
        ("é: 1\nb: ".encode() + b"\xe9\n", "byte 10", "2:4"),
        ("a: 1".encode("utf-16"), "byte 1", "1:1"),
        (b"\xef\xbb\xbfa: \xff", "byte 7", "1:4"),
    ],
)
def test_reports_the_first_byte_that_is_not_utf_8(
    tmp_path: Path, content: bytes, byte: str, place: str
) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_bytes(content)
    report = Report()
    assert read_document(path, report) is None
    found = only(report)
    assert found.code == "DC102"
    assert found.message.startswith(byte)
    assert str(found.span) == f"{path}:{place}"


def test_reads_a_file_of_five_megabytes() -> None:
    line = "é" * 500
    text = "a: |\n" + f"  {line}\n" * 5000 + 'b: "' + "x" * 10_000 + '"\nc: 1\nc: 2\n'
    assert len(text.encode()) > 5_000_000
    found, report = parsed(text)
    assert found is not None
    assert found.data == {"a": f"{line}\n" * 5000, "b": "x" * 10_000, "c": 2}
    found_error = only(report)
    assert found_error.code == "DC105"
    assert found_error.span is not None
    assert text_at(text, found_error.span) == "c"
    assert found_error.span.line == 5004


def test_the_span_of_an_alias_is_where_it_is_used() -> None:
    text = "x-pool: &pool {name: p}\ndeployments:\n- work_pool:\n    name: *pool\n  tags: *pool\n"
    found = document(text)
    at = found.spans.value(("deployments", 0, "work_pool", "name"))
    assert at is not None
    assert (at.line, text_at(text, at)) == (4, "name")
    inside = found.spans.value(("deployments", 0, "work_pool", "name", "name"))
    assert inside is not None
    assert (inside.line, text_at(text, inside)) == (1, "p")
