"""`make test-pythons`: run the unit tests on every Python that deployctl supports and that is here.

Looks on the PATH and among pyenv's versions. Arguments are passed to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import CACHE, ROOT

VERSIONS = ("3.11", "3.12", "3.13")
INSTALL = ROOT / "scripts" / "install.sh"


def main() -> int:
    """Run the tests on each version and return 0 unless one failed, or none was there."""
    results = {version: run_tests(version, sys.argv[1:]) for version in VERSIONS}
    for version, result in results.items():
        print(f"Python {version}: {result}")
    return 0 if {"passed"} <= set(results.values()) <= {"passed", "not on this machine"} else 1


def run_tests(version: str, arguments: list[str]) -> str:
    """Run the unit tests in an environment of their own; returns what happened, in words."""
    python = next(interpreters(version), None)
    if python is None:
        return "not on this machine"
    environment = CACHE / f"python-{version}"
    installed = environment / "bin" / "python"
    print(f"== Python {version}: {python}", flush=True)
    if not works(installed, version):
        uv = [str(ROOT / ".venv" / "bin" / "uv"), "venv", "--quiet", "--clear"]
        subprocess.run([*uv, "--python", str(python), str(environment)], check=True)
    for packages in (["-r", "requirements-dev.txt"], ["--no-deps", "--editable", "."]):
        subprocess.run([str(INSTALL), str(environment), *packages], cwd=ROOT, check=True)
    tests = [str(installed), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit"]
    done = subprocess.run([*tests, *arguments], cwd=ROOT, check=False)
    return "failed" if done.returncode else "passed"


def interpreters(version: str) -> Iterator[Path]:
    """Working interpreters of a version such as `3.12`."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted((pyenv / "versions").glob(f"{version}.*/bin/python"))
    on_path = shutil.which(f"python{version}")
    yield from (path for path in [Path(on_path or ""), *installed] if works(path, version))


def works(python: Path, version: str) -> bool:
    """Whether an interpreter starts and has this version; one of pyenv's shims may do neither."""
    if not python.is_file():
        return False
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return answer.stdout.strip() == version


if __name__ == "__main__":
    sys.exit(main())
