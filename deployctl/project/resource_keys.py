"""The tables of the resources that a file declares at its top: deployctl's own keys.

`RESOURCE_LISTS` has the keys. Each holds a list, or a mapping from names to the other fields.
"""

from __future__ import annotations

from deployctl.api.dialect import NEVER, Range
from deployctl.project import moved_keys as moved
from deployctl.project.comparisons import (
    never_differs,
    same_mapping,
    same_number,
    same_numbers,
    same_set,
    same_text,
)
from deployctl.project.shapes import (
    Anything,
    Either,
    Field,
    Flag,
    Key,
    ListOf,
    Mapping_,
    MovedKey,
    Number,
    Table,
    Text,
)

NAME = Text(forbidden="/%&><")


def name_key(doc: str) -> Key:
    """The key of a name that identifies a resource, and so never changes."""
    return Key(NAME, doc, Field("name", update=NEVER, managed=False), required=True)


_TAGS = Key(ListOf(Text(), single=True), "Tags.", Field("tags", same=same_set, default=[]), null=[])

QUEUE = Table(
    "work queue",
    {
        "name": Key(NAME, "The queue's name.", Field("name", managed=False), required=True),
        "description": Key(
            Text(), "Shown in the UI.", Field("description", same=same_text, default=""), null=""
        ),
        "priority": Key(Number(minimum=1), "1 is served first.", Field("priority", default=1)),
        "concurrency_limit": Key(
            Number(minimum=0),
            "Runs at once from this queue.",
            Field("concurrency_limit"),
            null=None,
        ),
        "paused": Key(Flag(), "Whether the queue is paused.", Field("is_paused", default=False)),
    },
    moved={"is_paused": moved.rename("paused")},
    text_is="name",
)
POOL = Table(
    "work pool",
    {
        "name": name_key("The pool's name."),
        "type": Key(
            Text(),
            "`kubernetes`, `docker`, `process`, …",
            Field("type", update=NEVER, same=never_differs),
            required=True,
        ),
        "base_job_template": Key(
            Either(plain=Text(), mapping=Mapping_()),
            "The template of its jobs, or the path of a JSON file that holds it.",
            Field("base_job_template", default={}, clears=NEVER),
        ),
        "description": Key(
            Text(), "Shown in the UI.", Field("description", same=same_text), null=None
        ),
        "concurrency_limit": Key(
            Number(minimum=0), "Runs at once in this pool.", Field("concurrency_limit"), null=None
        ),
        "paused": Key(Flag(), "Whether the pool is paused.", Field("is_paused", default=False)),
        "queues": Key(ListOf(QUEUE), "Queues that it should have."),
    },
    fields=(Field("storage_configuration", Range((3, 2, 14)), managed=False),),
    moved={"is_paused": moved.rename("paused"), "work_queues": moved.rename("queues")},
)

VARIABLE = Table(
    "variable",
    {
        "name": name_key("The variable's name."),
        "value": Key(
            Anything(),
            "Its value; any JSON on Prefect 3, text on 2.20.",
            Field("value", same=same_numbers),
            required=True,
            null=None,
        ),
        "tags": _TAGS,
    },
)

_LIMIT = Number(minimum=0)
GLOBAL_LIMIT = Table(
    "declared concurrency limit",
    {
        "name": Key(
            NAME,
            'The name that flows and tasks ask for: `with concurrency("db")`.',
            Field("name", update=NEVER, managed=False),
        ),
        "tag": Key(Text(forbidden="/"), "Instead of a name: the tag of the task runs to limit."),
        "limit": Key(
            _LIMIT, "Slots, or task runs with the tag, at once.", Field("limit"), required=True
        ),
        "active": Key(
            Flag(), "Whether it limits anything; not with a tag.", Field("active", default=True)
        ),
        "slot_decay_per_second": Key(
            Number(whole=False, minimum=0),
            "Slots that become free each second, for `rate_limit`; not with a tag.",
            Field("slot_decay_per_second", same=same_number, default=0),
        ),
    },
    moved={
        "concurrency_limit": moved.rename("limit"),
        "slots": moved.rename("limit"),
        "slot_decay": moved.rename("slot_decay_per_second"),
        "paused": MovedKey("write 'active: false'"),
    },
)
TAG_LIMIT = Table(
    "concurrency limit of a tag", {"limit": Key(_LIMIT, "", Field("concurrency_limit"))}
)
"""The fields of an item of `concurrency_limits` that has a tag."""

BLOCK = Table(
    "block",
    {
        "name": Key(NAME, "The block's name.", required=True),
        "type": Key(Text(), "The slug of its type: `secret`.", required=True),
        "values": Key(Mapping_(), "The values of its fields.", Field("values")),
        "files": Key(Mapping_(), "Fields whose value is the text of a file: `{value: token.txt}`."),
    },
    moved={
        "data": moved.rename("values"),
        "value": MovedKey("write it under 'values'", ("values", "value")),
        "block_type": moved.rename("type"),
        "block_type_slug": moved.rename("type"),
        "slug": moved.rename("type"),
    },
)

FLOW = Table(
    "flow",
    {
        "name": name_key("The flow's name, as its code gives it."),
        "tags": _TAGS,
        "labels": Key(
            Mapping_(),
            "Labels; the server takes them only when the flow is created.",
            Field("labels", Range((3, 1, 5)), NEVER, same=same_mapping, default={}),
            null={},
        ),
    },
)

RESOURCE_LISTS: dict[str, Key] = {
    "work_pools": Key(
        ListOf(POOL, named=True), "Work pools that deployctl keeps as they are here.", null=[]
    ),
    "variables": Key(
        ListOf(VARIABLE, named=True), "Variables that deployctl keeps as they are here.", null=[]
    ),
    "concurrency_limits": Key(
        ListOf(GLOBAL_LIMIT, named=True),
        "Global concurrency limits, and those of tags, that deployctl keeps as they are here.",
        null=[],
    ),
    "blocks": Key(
        ListOf(BLOCK, named=True), "Blocks that deployctl keeps as they are here.", null=[]
    ),
    "flows": Key(
        ListOf(FLOW, named=True), "Flows whose tags deployctl keeps as they are here.", null=[]
    ),
}
"""The top-level keys that declare resources."""
