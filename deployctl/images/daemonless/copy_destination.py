"""Where COPY and ADD put files, as far as that can be known without the files of the base image.

A layer replaces what is below it. So whatever Docker would do in another way, depending on what the
base image has there, is refused, with the line and the reason:

- the way leads through what is a link in many images (`/bin`, `/var/run`), or into a folder whose
  rights nobody can know from here (`/root`, `/home`, `/tmp`): in the layer it would be a new one;
- the destination has no slash at its end, and could be a folder in the base image;
- a user is to own the destination, which is so only if the base image does not have that folder;
- the working folder of the base image may belong to the user whom the image runs as: a folder that
  is not in a layer, and has files there, is given to user 0 by the storage of many engines.

A folder on the way is written as Docker makes it, of user 0 and with mode 755, unless the base
image is known to have it, being the working folder or above it. That another folder of a base
image has other rights, or is a link, is the one thing that is taken not to be so. On `scratch` all
is known, and nothing of this is refused.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deployctl.core.errors import DeployctlError
from deployctl.images.content_tag import is_remote
from deployctl.images.context import Entry, EntryType
from deployctl.images.daemonless.copy_sources import ContextFiles, NothingToCopy
from deployctl.images.daemonless.layer import ROOT, LayerEntry, Owner
from deployctl.images.dockerfile.parser import Instruction

_LINKS = frozenset(
    {"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr/lib64", "/usr/sbin"}
    | {"/usr/tmp", "/var/lock", "/var/run"}
)
_OWN_RIGHTS = frozenset({"/home", "/root", "/tmp", "/var/tmp"})
_MOUNTED = frozenset({"/dev", "/proc", "/sys"})
_DELETES = ".wh."
_FOLDER = LayerEntry(EntryType.FOLDER, 0o755)
_NUMBERS = re.compile(r"([0-9]+)(?::([0-9]+))?")
_OCTAL = re.compile(r"0?[0-7]{3,4}")
_ROOTS = frozenset({"", "0", "root"})
_FLAGS = frozenset({"chown", "chmod"})


class NeedsEngine(DeployctlError):
    """What an instruction does cannot be known, or done, without a container engine."""

    code = "DC736"


@dataclass(frozen=True, slots=True)
class _Ownership:
    """Who owns what an instruction copies, and with which permissions."""

    owner: Owner | None
    """None: nobody was named, so user 0."""
    mode: int | None
    """None: as in the context."""


class LayerContents:
    """The files that come onto a base image."""

    def __init__(self, existing: str | None, user: str) -> None:
        """`existing`: a folder that the base image is known to have, among others that nobody
        knows of; None: it has nothing at all. `user`: whom it runs as, "" is user 0."""
        self.items: dict[str, LayerEntry] = {}
        """By paths relative to the root."""
        self._empty_base = existing is None
        way = _way(existing) if existing else []
        self._existing = {"/", *way}
        self._user = "" if user.partition(":")[0] in _ROOTS else user
        self._theirs = {*way[1:], *way[-1:]}
        self._entered: set[str] = set()

    def enter(self, folder: str) -> None:
        """Makes a working folder, unless it is there. Raises NeedsEngine."""
        self._make(folder, None)
        self._entered.update(_way(folder))

    def copy(self, instruction: Instruction, files: ContextFiles, folder: str) -> None:
        """Does a COPY or ADD, in a working folder. Raises NeedsEngine, NothingToCopy."""
        given = _given(instruction)
        *sources, last = instruction.words
        is_folder = last in (".", "..") or last.endswith(("/", "/.", "/.."))
        destination = posixpath.normpath("/" + posixpath.join(folder, last).lstrip("/"))
        for source in sources:
            if instruction.keyword == "ADD" and is_remote(source):
                raise NeedsEngine(
                    f"ADD would fetch '{source}'", help="fetch it before, and COPY it"
                )
        found = [each for source in sources for each in files.named(source)]
        if not found:
            raise NothingToCopy(f"nothing in the build context is called {' or '.join(sources)}")
        if len(found) > 1 and not is_folder:
            raise NothingToCopy(
                f"more than one file is copied to '{last}'",
                help=f"write '{last}/' if that is to be a folder",
            )
        for name, entry in found:
            if entry is None or entry.kind is EntryType.FOLDER:
                self._folder(entry, files, destination, given)
                continue
            if instruction.keyword == "ADD" and _is_archive(entry):
                raise NeedsEngine(
                    f"ADD would unpack '{name}'", help="unpack it before, or COPY it as it is"
                )
            inside = is_folder or self._is_folder(destination, name, entry)
            self._file(entry, posixpath.join(destination, name) if inside else destination, given)

    def _folder(
        self, source: Entry | None, files: ContextFiles, to: str, given: _Ownership
    ) -> None:
        self._make(posixpath.dirname(to), None)
        self._make(to, given.owner)
        for name, entry in files.below(source):
            path = posixpath.join(to, name)
            if entry.kind is EntryType.FOLDER:
                self._refuse(path)
            self._put(path, LayerEntry.of(entry, given.owner or ROOT, given.mode))

    def _file(self, entry: Entry, to: str, given: _Ownership) -> None:
        self._make(posixpath.dirname(to), given.owner)
        here = self._item(to)
        if here and here.kind is EntryType.LINK:
            raise NeedsEngine(f"'{to}' is a link that was copied before")
        self._put(to, LayerEntry.of(entry, given.owner or ROOT, given.mode))

    def _is_folder(self, path: str, name: str, entry: Entry) -> bool:
        """Whether a destination without a slash at its end is a folder that is there already;
        not if it is called like the file, or ends like it."""
        here = self._item(path)
        if path in self._existing | self._entered or (here and here.kind is EntryType.FOLDER):
            return True
        names, to = [PurePosixPath(name), PurePosixPath(entry.path)], PurePosixPath(path)
        alike = to.name in [each.name for each in names] or (
            to.suffix and to.suffix in [each.suffix for each in names]
        )
        if self._empty_base or here or alike:
            return False
        raise NeedsEngine(
            f"'{path}' is a folder in the base image or not, and which cannot be known",
            help=f"write '{path}/' to copy into a folder; keep the file's name or ending to copy to"
            " a file",
        )

    def _make(self, folder: str, owner: Owner | None) -> None:
        """Makes a folder, and all on the way to it, where they are missing."""
        for path in _way(folder):
            here = self._item(path)
            if here and here.kind is not EntryType.FOLDER:
                raise NeedsEngine(f"the way leads through '{path}', which was copied before")
            if here or path in self._existing:
                continue
            self._refuse(path)
            if owner not in (None, ROOT) and not self._empty_base:
                raise NeedsEngine(
                    f"user {owner.user} is to own '{path}' unless the base image has it, and"
                    " whether it has cannot be known",
                    help=f"write `WORKDIR {path}` before it; the folder is user 0's then",
                )
            self._put(path, replace(_FOLDER, owner=owner or ROOT))

    def _refuse(self, path: str) -> None:
        """Raises NeedsEngine for a folder that must not be in a layer."""
        if self._empty_base:
            return
        if path in _LINKS:
            raise NeedsEngine(
                f"'{path}' is a link in many images, and where it leads cannot be known",
                help=f"copy to where it leads, like '/usr{path}'" if path.count("/") == 1 else None,
            )
        if path in _OWN_RIGHTS:
            raise NeedsEngine(
                f"which rights '{path}' and the folders in it have in the base image cannot be"
                " known",
                help="copy to a folder of your own, like '/app'",
            )
        if path in _MOUNTED:
            raise NeedsEngine(f"'{path}' is no part of an image")

    def _item(self, path: str) -> LayerEntry | None:
        return self.items.get(path.lstrip("/"))

    def _put(self, path: str, item: LayerEntry) -> None:
        """Puts something in the place of whatever was copied there before."""
        if posixpath.basename(path).startswith(_DELETES):
            raise NeedsEngine(
                f"'{path}' cannot be in an image: in a layer such a name deletes what is below",
                help="leave it out in .dockerignore",
            )
        parent = posixpath.dirname(path)
        if self._user and parent in self._theirs:
            raise NeedsEngine(
                f"'{parent}' may belong to '{self._user}' in the base image, and not every engine"
                " would leave it so",
                help="write `WORKDIR` with another folder before it",
            )
        here = self._item(path)
        if here and (here.kind is EntryType.FOLDER) != (item.kind is EntryType.FOLDER):
            raise NeedsEngine(f"'{path}' was copied before, as {_a(here.kind)}")
        self.items[path.lstrip("/")] = item


def _way(path: str) -> list[str]:
    """A folder and all above it but the root, from the top."""
    folder = PurePosixPath(path)
    return [str(each) for each in [*reversed(folder.parents), folder][1:]]


def _a(kind: EntryType) -> str:
    return f"a {kind}"


def _given(instruction: Instruction) -> _Ownership:
    """What the flags of an instruction say. Raises NeedsEngine."""
    if instruction.heredocs:
        raise NeedsEngine("here documents are not copied by this builder")
    for name, value in instruction.flags:
        if name == "from":
            raise NeedsEngine(f"files of '{value}' cannot be known")
        if name not in _FLAGS:
            raise NeedsEngine(f"--{name} is not known to this builder")
    chown, chmod = instruction.flag("chown"), instruction.flag("chmod")
    if chmod is not None and not _OCTAL.fullmatch(chmod):
        raise NeedsEngine(f"--chmod={chmod} is not a mode in octal numbers, like 755")
    mode = None if chmod is None else int(chmod, 8)
    if chown is None:
        return _Ownership(None, mode)
    found = _NUMBERS.fullmatch(chown)
    if not found:
        raise NeedsEngine(
            f"which numbers '{chown}' has in the base image cannot be known",
            help="write numbers: --chown=1000:1000",
        )
    return _Ownership(Owner(int(found[1]), int(found[2] or found[1])), mode)


def _is_archive(entry: Entry) -> bool:
    """Whether ADD unpacks a file: by what is in it, as Docker does."""
    import tarfile

    with entry.open():  # for the error if it cannot be read
        pass
    with entry.source.open("rb") as file:
        if file.read(4) == b"\x28\xb5\x2f\xfd":  # zstd, which this Python may not know
            return True
    try:
        return tarfile.is_tarfile(entry.source)
    except EOFError:  # it begins as one that is packed, and breaks off
        return False
