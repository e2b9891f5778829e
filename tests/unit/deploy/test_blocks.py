"""Blocks: their values are compared and sent, and are in no plan and no record."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from deployctl.core.errors import Conflict, DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK
from deployctl.deploy.last_applied import LastApplied
from deployctl.deploy.model import Change, Op, Resource
from deployctl.deploy.plan import compare
from deployctl.deploy.resources.blocks import OTHER, Blocks, desired_block
from tests.unit.deploy.answers import NOTHING, V3

KEY = ("secret", "token")
SCHEMA = {"id": "s-1", "block_type_id": "t-1", "created": "2026", "fields": {}}


def current(desired: Resource, data: Json) -> list[Resource]:
    """The block that is read if the server has this data; None: it has no such block."""
    reading = Blocks().read([desired], V3)
    (request,) = next(reading)
    assert request.path.endswith(
        "/block_types/slug/secret/block_documents/name/token?include_secrets=true"
    )
    answer = {"id": "b-1", "data": data, "block_schema": {"fields": {"secret_fields": ["value"]}}}
    with pytest.raises(StopIteration) as stop:
        reading.send([None if data is None else answer])
    found: list[Resource] = stop.value.value
    return found


def change(values: Mapping[str, Json], data: Json) -> Change:
    desired = desired_block(KEY, values)
    return compare(desired, next(iter(current(desired, data)), None), lambda *_: NOTHING, V3)


@pytest.mark.parametrize(
    ("values", "data", "op"),
    [
        ({"value": "planted"}, None, Op.CREATE),
        ({"value": "planted"}, {"value": "planted"}, Op.NONE),
        ({"value": "planted"}, {"value": "another"}, Op.UPDATE),
        ({"value": "1"}, {"value": 1}, Op.UPDATE),
        ({"a": {"b": [1]}}, {"a": {"b": [1]}}, Op.NONE),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, Op.UPDATE),
        ({"value": "planted"}, {"value": "planted", "more": "planted"}, Op.UPDATE),
        ({"value": "planted", "more": "planted"}, {"value": "planted"}, Op.UPDATE),
        ({"value": "planted"}, {}, Op.UPDATE),
    ],
)
def test_values_are_compared_and_not_shown(values: Json, data: Json, op: Op) -> None:
    found = change(values, data)
    assert found.op is op
    for part in found.fields:
        assert set((part.old or {}).values()) <= {MASK, OTHER}
        assert set(part.new.values()) == {MASK}
    assert "planted" not in repr(found)
    assert "another" not in repr(found).replace(OTHER, "")


def test_the_record_names_the_field_only() -> None:
    record = LastApplied().add([desired_block(KEY, {"value": "planted"})])
    assert record.resources == {"block": {KEY: frozenset({"values"})}}


def writing(found: Change) -> tuple[Json, Json]:
    """The call that writes a change, and its first request after the type has been read."""
    requests = Blocks().write(found, "", V3)
    (read_type,) = next(requests)
    assert read_type.path == "/block_types/slug/secret"
    requests.send([{"id": "t-1"}])
    (request,) = requests.send([[{**SCHEMA, "id": "old", "created": "2025"}, SCHEMA]])
    return requests, request


def test_a_block_is_created_with_the_newest_schema_of_its_type() -> None:
    _, request = writing(change({"value": "planted"}, None))
    assert (request.method, request.path) == ("POST", "/block_documents/")
    assert request.body == {
        "name": "token",
        "data": {"value": "planted"},
        "block_type_id": "t-1",
        "block_schema_id": "s-1",
    }


def test_an_update_replaces_all_values() -> None:
    _, request = writing(change({"value": "planted"}, {"value": "another"}))
    assert (request.method, request.path) == ("PATCH", "/block_documents/b-1")
    assert request.body == {
        "data": {"value": "planted"},
        "block_schema_id": "s-1",
        "merge_existing_data": False,
    }


def test_a_block_that_was_just_created_is_updated() -> None:
    requests, _ = writing(change({"value": "planted"}, None))
    (read,) = requests.throw(Conflict("taken"))
    (update,) = requests.send([{"id": "b-2"}])
    assert (read.method, update.method, update.path) == ("GET", "PATCH", "/block_documents/b-2")


def test_a_type_that_is_gone_is_an_error() -> None:
    requests = Blocks().write(change({"value": "planted"}, None), "", V3)
    next(requests)
    with pytest.raises(DeployctlError, match="no block type 'secret' any more"):
        requests.send([None])
