"""Entrypoints in the shapes that real projects have; see README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class CorpusCase:
    """A project of a few files, the entrypoint of its flow, and variables of the environment."""

    name: str
    entrypoint: str
    environ: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def needs_newer_python(self) -> bool:
        """Whether the Python of the tests cannot parse it."""
        return self.name.startswith("new-")

    def write(self, folder: Path) -> None:
        """Writes the files of the project."""
        for name, text in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


def read_corpus() -> list[CorpusCase]:
    """Returns all cases of the corpus."""
    return [case for file in sorted(FOLDER.glob("*.txt")) for case in _read(file)]


def _read(file: Path) -> Iterator[CorpusCase]:
    for part in f"\n{file.read_text(encoding='utf-8')}".split("\n=== ")[1:]:
        head, *sections = part.split("\n--- ")
        name, what = head.strip().split("\n")
        entrypoint, *variables = what.split()
        pairs = (variable.partition("=") for variable in variables)
        environ = {key: value for key, _, value in pairs}
        files = {}
        for section in sections:
            path, _, text = section.partition("\n")
            files[path.strip()] = f"{text.rstrip()}\n"
        yield CorpusCase(name, entrypoint, environ, files)
