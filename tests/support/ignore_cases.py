"""Cases of `.dockerignore` on one tree. Expected results are those of BuildKit's matcher."""

from __future__ import annotations

from pathlib import Path

TREE = (
    "a.py",
    "b.txt",
    ".git/config",
    "Dockerfile",
    "README.md",
    "docs/a.md",
    "docs/deep/b.md",
    "src/a.py",
    "src/a.pyc",
    "src/pkg/__init__.py",
    "src/pkg/data/x.bin",
    "src/pkg/data/y.csv",
    "node_modules/m/index.js",
    "[x]/a",
    "d1/f",
    "d2/f",
    "foo",
    "barfoo",
    "x/foo",
    "x/barfoo",
    "tmp/cache/c",
    "empty/",
    "!bang",
    "#hash",
    "sp ace/f",
    "é/ü",
)
"""Files, and directories with a trailing `/`."""


def create_tree(folder: Path) -> Path:
    """Creates the tree in a folder; returns the folder."""
    for path in TREE:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir()
        else:
            place.write_text(path)
    return folder


EXCLUDED = [
    ("", []),
    ("a.py", ["a.py"]),
    ("/a.py", ["a.py"]),
    ("./a.py", ["a.py"]),
    ("//a.py", ["a.py"]),
    ("../a.py", []),
    ("src/../a.py", ["a.py"]),
    ("*.py", ["a.py"]),
    ("**/*.py", ["a.py", "src/a.py", "src/pkg/__init__.py"]),
    ("*/*.py", ["src/a.py"]),
    ("**/a.py", ["a.py", "src/a.py"]),
    (
        "src",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    (
        "src/",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    (
        "src/*",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    (
        "src/**",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    ("src/**/*.py", ["src/a.py", "src/pkg/__init__.py"]),
    ("**/data", ["src/pkg/data/x.bin", "src/pkg/data/y.csv"]),
    ("**/data/", ["src/pkg/data/x.bin", "src/pkg/data/y.csv"]),
    ("**/data/*", ["src/pkg/data/x.bin", "src/pkg/data/y.csv"]),
    ("src\n!src/pkg", ["src/a.py", "src/a.pyc"]),
    (
        "!src/pkg\nsrc",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    (
        "src/*\n!src/pkg\nsrc/pkg/data",
        ["src/a.py", "src/a.pyc", "src/pkg/data/x.bin", "src/pkg/data/y.csv"],
    ),
    ("**/*.md\n!README.md\ndocs", ["docs/a.md", "docs/deep/b.md"]),
    ("*.md\n!README*.md\nREADME.md", ["README.md"]),
    (".*", [".git/config"]),
    (".git", [".git/config"]),
    ("**/.git", [".git/config"]),
    ("d?", ["d1/f", "d2/f"]),
    ("d[12]", ["d1/f", "d2/f"]),
    ("d[^1]", ["d2/f"]),
    ("d[1-2]/f", ["d1/f", "d2/f"]),
    (r"\[x\]", ["[x]/a"]),
    ("[[]x]", ["[x]/a"]),
    ("[x]", ["x/barfoo", "x/foo"]),
    ("foo", ["foo"]),
    ("**/foo", ["foo", "x/foo"]),
    ("foo**", ["foo"]),
    ("**foo*", ["foo", "x/foo"]),
    ("**/foo*", ["foo", "x/foo"]),
    ("*foo", ["barfoo", "foo"]),
    ("x/*foo", ["x/barfoo", "x/foo"]),
    (r"\!bang", ["!bang"]),
    ("!bang", []),
    ("#hash", []),
    (r"\#hash", ["#hash"]),
    (" # hash", []),
    ("sp ace", ["sp ace/f"]),
    ("  sp ace  ", ["sp ace/f"]),
    ("sp*", ["sp ace/f"]),
    ("é", ["é/ü"]),
    ("?/?", ["é/ü"]),
    ("é/*", ["é/ü"]),
    ("empty", ["empty/"]),
    ("node_modules/**\n!node_modules/m", []),
    ("**/m/*.js", ["node_modules/m/index.js"]),
    (r"d\d", ["d1/f", "d2/f"]),
    (r"*\.py", ["a.py"]),
    ("src/pkg/*/x.bin", ["src/pkg/data/x.bin"]),
    ("src/*/data", ["src/pkg/data/x.bin", "src/pkg/data/y.csv"]),
    ("**/__init__.py", ["src/pkg/__init__.py"]),
    ("docs/**/b.md", ["docs/deep/b.md"]),
    ("docs/*/b.md", ["docs/deep/b.md"]),
    ("*\n!*/", []),
    ("README.md\nDockerfile\n.dockerignore", ["Dockerfile", "README.md"]),
]
INCLUDED = [
    ("**", []),
    ("*", []),
    (
        "*\n!src",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    (
        "*\n!src/\n!README.md",
        [
            "README.md",
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    (
        "*\n!src/**",
        [
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
        ],
    ),
    ("*\n!src/*.py", ["src/a.py"]),
    ("*\n!src/pkg/data/y.csv", ["src/pkg/data/y.csv"]),
]

# Engines before Docker 23 have older rules for these.
NEWER_EXCLUDED = [
    ("**foo", ["barfoo", "foo", "x/barfoo", "x/foo"]),
    ("empty\n!empty/x", ["empty/"]),
]
NEWER_INCLUDED = [
    ("*\n!**/*.py", ["a.py", "src/a.py", "src/pkg/__init__.py"]),
    (
        "*\n!*/*",
        [
            ".git/config",
            "[x]/a",
            "d1/f",
            "d2/f",
            "docs/a.md",
            "docs/deep/b.md",
            "node_modules/m/index.js",
            "sp ace/f",
            "src/a.py",
            "src/a.pyc",
            "src/pkg/__init__.py",
            "src/pkg/data/x.bin",
            "src/pkg/data/y.csv",
            "tmp/cache/c",
            "x/barfoo",
            "x/foo",
            "é/ü",
        ],
    ),
]
