"""Computes where COPY and ADD put files, as far as that is known without the base image's files.

A layer replaces what is below it. So where Docker's result depends on the files of the base image,
the instruction is rejected with its line and the reason:

- the path leads through a directory that is a link in many images (`/bin`, `/var/run`), or into one
  whose permissions are unknown (`/root`, `/home`, `/tmp`): the layer would replace it;
- the destination has no trailing slash and may be a directory in the base image;
- `--chown` is to apply to the destination, which Docker does only if the directory is missing;
- the working directory of the base image may belong to the user whom the image runs as: the storage
  of many engines gives a directory that is not in a layer, and has files in one, to user 0.

Missing directories on the path are created as Docker creates them, with user 0 and mode 755, unless
the base image is known to have them: its working directory and the parents of that. The only
assumption is that other directories of the base image have these permissions too and are not links.
On `scratch` everything is known and nothing of this is rejected.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from deployctl.core.errors import DeployctlError
from deployctl.images.content_tag import is_remote
from deployctl.images.context import ContextEntry, EntryType
from deployctl.images.daemonless.copy_sources import ContextFiles, NothingToCopy
from deployctl.images.dockerfile.parser import Instruction
from deployctl.images.tar import ROOT, Owner, TarMember

_LINKS = frozenset(
    {"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr/lib64", "/usr/sbin"}
    | {"/usr/tmp", "/var/lock", "/var/run"}
)
_SPECIAL_PERMISSIONS = frozenset({"/home", "/root", "/tmp", "/var/tmp"})
_MOUNT_POINTS = frozenset({"/dev", "/proc", "/sys"})
_WHITEOUT = ".wh."
_DIRECTORY = TarMember(EntryType.FOLDER, 0o755)
_NUMERIC_OWNER = re.compile(r"([0-9]+)(?::([0-9]+))?")
_OCTAL = re.compile(r"0?[0-7]{3,4}")
_ROOT_NAMES = frozenset({"", "0", "root"})
_FLAGS = frozenset({"chown", "chmod"})


class NeedsEngine(DeployctlError):
    """The effect of an instruction needs a container engine, or depends on the base image."""

    code = "DC736"


@dataclass(frozen=True, slots=True)
class _Ownership:
    """`--chown` and `--chmod` of an instruction."""

    owner: Owner | None
    """None: not given, so user 0."""
    mode: int | None
    """None: as in the context."""


class LayerContents:
    """The files of the layer that is added to a base image."""

    def __init__(self, existing: str | None, user: str) -> None:
        """`existing`: the working directory of the base image, or None for `scratch`, which has no
        files. `user`: whom the base image runs as; "" is user 0."""
        self.members: dict[str, TarMember] = {}
        """By path relative to the root."""
        self._scratch = existing is None
        parents = _with_parents(existing) if existing else []
        self._existing = {"/", *parents}
        self._user = "" if user.partition(":")[0] in _ROOT_NAMES else user
        self._user_directories = {*parents[1:], *parents[-1:]}
        """Directories that may belong to that user."""
        self._entered: set[str] = set()
        """Working directories so far, with their parents."""

    def enter(self, directory: str) -> None:
        """Creates a working directory, unless it exists. Raises NeedsEngine."""
        self._create(directory, None)
        self._entered.update(_with_parents(directory))

    def copy(self, instruction: Instruction, files: ContextFiles, directory: str) -> None:
        """Applies a COPY or ADD in a working directory. Raises NeedsEngine, NothingToCopy."""
        ownership = _ownership(instruction)
        *sources, last = instruction.words
        is_directory = last in (".", "..") or last.endswith(("/", "/.", "/.."))
        destination = posixpath.normpath("/" + posixpath.join(directory, last).lstrip("/"))
        for source in sources:
            if instruction.keyword == "ADD" and is_remote(source):
                raise NeedsEngine(
                    f"ADD would download '{source}'", help="Download it first, then COPY it."
                )
        found = [each for source in sources for each in files.match(source)]
        if not found:
            raise NothingToCopy(f"nothing in the build context matches {' or '.join(sources)}")
        if len(found) > 1 and not is_directory:
            raise NothingToCopy(
                f"more than one file is copied to '{last}'",
                help=f"Write '{last}/' if it is a directory.",
            )
        for name, entry in found:
            if entry is None or entry.type is EntryType.FOLDER:
                self._copy_directory(entry, files, destination, ownership)
                continue
            if instruction.keyword == "ADD" and _is_archive(entry):
                raise NeedsEngine(
                    f"ADD would unpack '{name}'", help="Unpack it first, or COPY it as it is."
                )
            inside = is_directory or self._is_directory(destination, name, entry)
            path = posixpath.join(destination, name) if inside else destination
            self._copy_file(entry, path, ownership)

    def _copy_directory(
        self,
        source: ContextEntry | None,
        files: ContextFiles,
        destination: str,
        ownership: _Ownership,
    ) -> None:
        self._create(posixpath.dirname(destination), None)
        self._create(destination, ownership.owner)
        for name, entry in files.below(source):
            path = posixpath.join(destination, name)
            if entry.type is EntryType.FOLDER:
                self._check_allowed(path)
            self._put(path, TarMember.of(entry, ownership.owner or ROOT, ownership.mode))

    def _copy_file(self, entry: ContextEntry, path: str, ownership: _Ownership) -> None:
        self._create(posixpath.dirname(path), ownership.owner)
        member = self._member(path)
        if member and member.type is EntryType.LINK:
            raise NeedsEngine(f"'{path}' is a link that was copied before")
        self._put(path, TarMember.of(entry, ownership.owner or ROOT, ownership.mode))

    def _is_directory(self, path: str, name: str, entry: ContextEntry) -> bool:
        """Whether a destination without a trailing slash is an existing directory.

        It is taken for a file if it has the name or the suffix of the copied file.
        """
        member = self._member(path)
        if path in self._existing | self._entered or (member and member.type is EntryType.FOLDER):
            return True
        names, target = [PurePosixPath(name), PurePosixPath(entry.path)], PurePosixPath(path)
        same_name = target.name in [each.name for each in names] or (
            target.suffix and target.suffix in [each.suffix for each in names]
        )
        if self._scratch or member or same_name:
            return False
        raise NeedsEngine(
            f"it is unknown whether '{path}' is a directory in the base image",
            help=f"Write '{path}/' to copy into a directory; keep the name or suffix of the file to"
            " copy to a file.",
        )

    def _create(self, directory: str, owner: Owner | None) -> None:
        """Creates a directory and its parents if they are missing."""
        for path in _with_parents(directory):
            member = self._member(path)
            if member and member.type is not EntryType.FOLDER:
                raise NeedsEngine(f"'{path}' was copied before and is not a directory")
            if member or path in self._existing:
                continue
            self._check_allowed(path)
            if owner not in (None, ROOT) and not self._scratch:
                raise NeedsEngine(
                    f"user {owner.user} owns '{path}' only if the base image does not have it, and"
                    " that is unknown",
                    help=f"Write `WORKDIR {path}` before it; user 0 owns the directory then.",
                )
            self._put(path, replace(_DIRECTORY, owner=owner or ROOT))

    def _check_allowed(self, path: str) -> None:
        """Raises NeedsEngine for a directory that must not be in a layer."""
        if self._scratch:
            return
        if path in _LINKS:
            raise NeedsEngine(
                f"'{path}' is a link in many images, and its target is unknown",
                help=f"Copy to the target, like '/usr{path}'." if path.count("/") == 1 else None,
            )
        if path in _SPECIAL_PERMISSIONS:
            raise NeedsEngine(
                f"the permissions of '{path}' and of the directories in it are unknown in the base"
                " image",
                help="Copy to a directory of your own, like '/app'.",
            )
        if path in _MOUNT_POINTS:
            raise NeedsEngine(f"'{path}' is not part of an image")

    def _member(self, path: str) -> TarMember | None:
        return self.members.get(path.lstrip("/"))

    def _put(self, path: str, member: TarMember) -> None:
        """Adds a member; replaces one that was copied to the same path before."""
        if posixpath.basename(path).startswith(_WHITEOUT):
            raise NeedsEngine(
                f"'{path}' cannot be in an image: in a layer, this name deletes files",
                help="Exclude it in .dockerignore.",
            )
        parent = posixpath.dirname(path)
        if self._user and parent in self._user_directories:
            raise NeedsEngine(
                f"'{parent}' may belong to '{self._user}' in the base image, and not every engine"
                " keeps that",
                help="Write `WORKDIR` with another directory before it.",
            )
        existing = self._member(path)
        if existing and (existing.type is EntryType.FOLDER) != (member.type is EntryType.FOLDER):
            raise NeedsEngine(f"'{path}' was copied before, as a {existing.type}")
        self.members[path.lstrip("/")] = member


def _with_parents(path: str) -> list[str]:
    """A directory and its parents without the root, from the top."""
    directory = PurePosixPath(path)
    return [str(each) for each in [*reversed(directory.parents), directory][1:]]


def _ownership(instruction: Instruction) -> _Ownership:
    """Parses the flags of an instruction. Raises NeedsEngine."""
    if instruction.heredocs:
        raise NeedsEngine("here-documents are not supported without a container engine")
    for name, value in instruction.flags:
        if name == "from":
            raise NeedsEngine(f"the files of '{value}' are unknown")
        if name not in _FLAGS:
            raise NeedsEngine(f"--{name} is not supported without a container engine")
    chown, chmod = instruction.flag("chown"), instruction.flag("chmod")
    if chmod is not None and not _OCTAL.fullmatch(chmod):
        raise NeedsEngine(f"--chmod={chmod} is not an octal mode like 755")
    mode = None if chmod is None else int(chmod, 8)
    if chown is None:
        return _Ownership(None, mode)
    found = _NUMERIC_OWNER.fullmatch(chown)
    if not found:
        raise NeedsEngine(
            f"the user and group ids of '{chown}' in the base image are unknown",
            help="Write numeric ids, like --chown=1000:1000.",
        )
    return _Ownership(Owner(int(found[1]), int(found[2] or found[1])), mode)


def _is_archive(entry: ContextEntry) -> bool:
    """Whether ADD unpacks a file; Docker decides by its content too."""
    import tarfile

    with entry.open():  # raises UnreadableContext
        pass
    with entry.local_path.open("rb") as file:
        if file.read(4) == b"\x28\xb5\x2f\xfd":  # zstd, which tarfile may not support
            return True
    try:
        return tarfile.is_tarfile(entry.local_path)
    except EOFError:  # a truncated compressed file
        return False
