"""Applies fixes to the text of a file: text in, text out.

Only the characters that a fix concerns are edited, so comments and layout stay. After each pass the
new text is parsed, and its values are compared with those that the fixes promise; a fix that does
not keep its promise, because of an alias for instance, is not applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from deployctl.core.diagnostics import Diagnostic, Report
from deployctl.core.fix import (
    Fix,
    MoveKey,
    PathFix,
    Quote,
    QuoteAt,
    QuoteKey,
    Remove,
    RemoveDuplicate,
    ReplaceText,
    SetText,
    WrapValue,
)
from deployctl.core.json_values import Json, JsonPath, same_json
from deployctl.project.compose import Node
from deployctl.project.document import Document, parse_document
from deployctl.project.keys import TOP_LEVEL
from deployctl.project.layout import Block, Edit, Layout, contains, indented, quote, quote_at
from deployctl.project.scalars import resolve_plain

Check: TypeAlias = Callable[[str], tuple[Document | None, Sequence[Diagnostic]]]
"""Parses and checks the text of a file; the document is None if YAML cannot read it."""
_Group: TypeAlias = tuple[tuple[Edit, ...], tuple[Fix, ...]]
"""Edits, and the fixes that they carry out: several if an alias repeats a value."""

MAX_PASSES = 20
"""More than fixes can depend on each other; a fix that gives way to another waits for the next."""


def fix_text(text: str, check: Check) -> tuple[str, list[Diagnostic]]:
    """The fixed text, and the diagnostics that it no longer has, in the order of their fixes."""
    fixed: list[Diagnostic] = []
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    for _ in range(MAX_PASSES):
        document, found = check(text)
        fixable = [each for each in found if each.fix is not None]
        if document is None:
            changed, applied = _fix_syntax(text, found, check)
        else:
            changed, applied = apply_fixes(document, [each.fix for each in fixable if each.fix])
        if not applied:
            break
        text = changed
        fixed += dict.fromkeys(each for each in fixable if each.fix in applied)
    return mark + text, fixed


def apply_fixes(document: Document, fixes: Iterable[Fix]) -> tuple[str, list[Fix]]:
    """The text after these fixes, and those that were applied.

    Fixes whose edits overlap, and fixes that change another meaning than they say, are left out.
    """
    layout = Layout(document)
    by_edits: dict[tuple[Edit, ...], list[Fix]] = {}
    for fix in dict.fromkeys(fixes):
        if edits := _edits(layout, fix):
            by_edits.setdefault(edits, []).append(fix)
    groups: list[_Group] = []
    taken: list[Edit] = []
    for edits, same in by_edits.items():
        if not any(_overlap(one, other) for one in edits for other in taken):
            groups.append((edits, tuple(same)))
            taken += edits
    accepted = _accept(document, [], groups)
    return _edited(document.text, accepted), [fix for _, same in accepted for fix in same]


def _fix_syntax(text: str, found: Sequence[Diagnostic], check: Check) -> tuple[str, list[Fix]]:
    """Quotes what YAML cannot read, if it can then read the file, or more of it."""
    fixes = [each.fix for each in found if isinstance(each.fix, QuoteAt)]
    edits = {fix: edit for fix in fixes if (edit := quote_at(text, fix.offset))}
    changed = _edited(text, [((edit,), (fix,)) for fix, edit in edits.items()])
    document, left = check(changed)
    progress = document is not None or _last_line(left) > _last_line(found)
    return (changed, list(edits)) if edits and progress else (text, [])


def _last_line(found: Sequence[Diagnostic]) -> int:
    return max((each.span.line for each in found if each.span), default=0)


def _overlap(one: Edit, other: Edit) -> bool:
    return one.start == other.start or (one.start < other.end and other.start < one.end)


def _edited(text: str, groups: Iterable[_Group]) -> str:
    edits = {edit for edits, _ in groups for edit in edits}
    for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _accept(document: Document, accepted: list[_Group], groups: Sequence[_Group]) -> list[_Group]:
    """The accepted groups and those of `groups` that keep their promise beside them."""
    if not groups or _keeps_promise(document, [*accepted, *groups]):
        return [*accepted, *groups]
    if len(groups) == 1:
        return accepted
    half = len(groups) // 2
    return _accept(document, _accept(document, accepted, groups[:half]), groups[half:])


def _keeps_promise(document: Document, groups: Sequence[_Group]) -> bool:
    """Whether the edited text has exactly the values that the fixes promise."""
    changed = parse_document(_edited(document.text, groups), document.file, Report())
    expected = promised(document, [fix for _, same in groups for fix in same])
    return changed is not None and same_json(_read(changed.data), _read(expected))


def _read(data: Json) -> Json:
    """The part of a file that is read: without the keys that only hold anchors."""
    return {
        name: value
        for name, value in data.items()
        if name in TOP_LEVEL.keys or not (name == "definitions" or name.startswith("x-"))
    }


def promised(document: Document, fixes: Iterable[Fix]) -> Json:
    """The values of a file after these fixes. Raises KeyError for paths that it does not have."""
    data = json.loads(json.dumps(document.data))
    paths = [each for fix in fixes for each in _with_paths(document.root, fix)]
    for fix in sorted(paths, key=_innermost_first, reverse=True):
        parent, last = _at(data, fix.path[:-1]), fix.path[-1]
        if isinstance(fix, Remove):
            del parent[last]
        elif isinstance(fix, SetText):
            parent[last] = fix.text
        elif isinstance(fix, ReplaceText):
            parent[last] = str(parent[last]).replace(fix.old, fix.new)
        elif isinstance(fix, MoveKey):
            _at(data, fix.to[:-1])[fix.to[-1]] = parent.pop(last)
        elif isinstance(fix, WrapValue):
            parent[last] = {fix.key: parent[last]} if fix.key else [parent[last]]
    return data


def _with_paths(root: Node, fix: Fix) -> list[PathFix]:
    """The changes of values that a fix makes: none for one that only writes them differently."""
    if isinstance(fix, QuoteKey):
        return [MoveKey(path, (*path[:-1], text)) for path, text in _keys_at(root, fix.offset)]
    if isinstance(fix, Quote):
        node = root.find(fix.path)
        if node is None or node.text is None or isinstance(node.value, str):
            return []
        return [SetText(fix.path, node.text)]
    return [] if isinstance(fix, QuoteAt | RemoveDuplicate) else [fix]


def _innermost_first(fix: PathFix) -> tuple[int, int]:
    """Sorts inner values before outer ones, and later items of a list before earlier ones."""
    last = fix.path[-1]
    return len(fix.path), last if isinstance(last, int) else 0


def _at(data: Json, path: JsonPath) -> Json:
    """The container at a path; missing ones are created."""
    for part, following in zip(path, (*path[1:], ""), strict=False):
        empty: Json = [] if isinstance(following, int) else {}
        if isinstance(data, list) and part == len(data):
            data.append(empty)
        elif isinstance(data, dict) and part not in data:
            data[part] = empty
        data = data[part]
    return data


def _edits(layout: Layout, fix: Fix) -> tuple[Edit, ...]:
    """The edits of one fix; () if the layout of the file does not allow them."""
    if isinstance(fix, QuoteAt):
        edit = quote_at(layout.text, fix.offset)
        return (edit,) if edit else ()
    if isinstance(fix, RemoveDuplicate):
        keys = _keys_at(layout.root, fix.offset)
        return _edits(layout, Remove(keys[0][0])) if keys else ()
    for change in _with_paths(layout.root, fix)[:1]:
        if isinstance(change, MoveKey):
            return _move(layout, change)
        is_removed = isinstance(change, Remove)
        edit = layout.removal(change.path) if is_removed else _scalar(layout, change)
        return (edit,) if edit else ()
    return ()


def _keys_at(root: Node, offset: int) -> list[tuple[JsonPath, str]]:
    """The paths of the key that begins at an offset, several through aliases, and its text."""
    return [
        ((*path, name), str(key.text))
        for path, node in root.walk()
        for name, key in node.keys.items()
        if key.start.index == offset
    ]


def _scalar(layout: Layout, fix: PathFix) -> Edit | None:
    node = layout.root.find(fix.path)
    if node is None or isinstance(node.value, dict | list):
        return None
    start, end = layout.value_start(node), layout.end(node)
    source = layout.text[start:end]
    if isinstance(fix, ReplaceText):
        is_there = fix.old in source
        return Edit(start, end, source.replace(fix.old, fix.new)) if is_there else None
    if not source or "\n" in source:
        return None
    if isinstance(fix, SetText):
        return Edit(start, end, quote(fix.text))
    if source[0] not in "\"'" and any(character in source for character in ",[]{}"):
        source = quote(source)
    key = getattr(fix, "key", "")
    return Edit(start, end, f"{{{key}: {source}}}" if key else f"[{source}]")


def _move(layout: Layout, fix: MoveKey) -> tuple[Edit, ...]:
    name, new = str(fix.path[-1]), str(fix.to[-1])
    parent = layout.root.find(fix.path[:-1])
    key = parent.keys.get(name) if parent else None
    if parent is None or key is None:
        return ()
    if fix.to[:-1] == fix.path[:-1]:
        written = new if resolve_plain(new) == new else quote(new)
        renamed = Edit(key.start.index, key.end.index, written)
        return () if new in parent.parts else (renamed,)
    block, place = layout.block(parent, name), _destination(layout, fix)
    if block is None or place is None:
        return ()
    path, missing = place
    lines = _below(missing, _renamed(block, key.end.index - key.start.index, new))
    target = layout.root.find(path)
    assert target is not None
    if target is parent:
        width = layout.column(key.start.index)
        return (_instead(layout, block, lines, width),)
    removal = Edit(block.start, block.end)
    if layout.is_flow(target):
        owner = layout.root.find(path[:-1])
        opened = layout.opened(owner, str(path[-1]), lines) if owner and path else None
        return (removal, opened) if opened and not _overlap(removal, opened) else ()
    width = layout.column(next(k.start.index for k in target.keys.values() if contains(target, k)))
    at = layout.line_end(layout.end(target))
    if block.start <= at <= block.end:
        return (_instead(layout, block, lines, width),)
    text = layout.newline.join(["", *indented(lines, width)])
    return (removal, Edit(at, at, text))


def _destination(layout: Layout, fix: MoveKey) -> tuple[JsonPath, JsonPath] | None:
    """The path of the innermost container that is there, and the containers to create in it."""
    node, to = layout.root, fix.to
    for index, part in enumerate(to[:-1]):
        child = node.parts.get(part)
        if child is None:
            return (to[:index], to[index:-1]) if isinstance(node.value, dict) else None
        is_only = to[: index + 1] == fix.path[: index + 1] or len(node.value) == 1
        if not contains(node, child) or (isinstance(part, int) and not is_only):
            return None
        node = child
    owned = any(contains(node, key) for key in node.keys.values())
    free = isinstance(node.value, dict) and to[-1] not in node.value
    return (to[:-1], ()) if free and owned else None


def _renamed(block: Block, width: int, name: str) -> list[str]:
    """The lines of a block whose key, `width` characters long, has another name."""
    lines = list(block.lines)
    lines[block.key_line] = name + lines[block.key_line][width:]
    return lines


def _below(containers: JsonPath, lines: list[str]) -> list[str]:
    """The lines as the content of these containers, from the outermost to the innermost."""
    for part in reversed(containers):
        if isinstance(part, int):
            first, *rest = lines
            lines = [f"- {first}", *indented(rest, 2)]
        else:
            lines = [f"{part}:", *indented(lines, 2)]
    return lines


def _instead(layout: Layout, block: Block, lines: list[str], width: int) -> Edit:
    """Writes lines in the place of a block."""
    text = layout.newline.join(indented(lines, width))
    if layout.column(block.start):
        text = text.lstrip(" ")
    last = layout.text[block.start : block.end]
    tail = last[len(last.rstrip()) :]
    return Edit(block.start, block.end, text + tail)
