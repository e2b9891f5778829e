"""The modules that a flow imports."""

from __future__ import annotations

from pathlib import Path

from deployctl.flows.imports import imported_files


def test_a_relative_import_beyond_the_root_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "beside.py").touch()
    file = tmp_path / "flow.py"
    dots = "." * (len(file.parts) + 1)
    file.write_text(f"from {dots}x import y\nfrom .beside import z\n")
    found = [each.path for each in imported_files(file, (), Path.is_file)]
    assert found == [file, tmp_path / "beside.py"]
