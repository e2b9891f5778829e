"""Flows are found in the text of files, wherever they are imported from."""

from __future__ import annotations

from pathlib import Path

from deployctl.flows.find import find_flows
from tests.support.project import write_project

FILES = {
    "flows/etl.py": """
        import prefect
        from prefect import flow as f, task

        @prefect.flow(name="Daily")
        def daily(): ...

        @f
        async def hourly(): ...

        @task
        def step(): ...

        def flow(function): return function

        class Jobs:
            @f
            def method(self): ...
        """,
    "other.py": "from somewhere import flow\n@flow\ndef no(): ...",
    "broken.py": "from prefect import flow\n@flow\ndef broken(:",
    ".hidden/x.py": "from prefect import flow\n@flow\ndef hidden(): ...",
    "env/pyvenv.cfg": "",
    "env/x.py": "from prefect import flow\n@flow\ndef installed(): ...",
    "tests/x.py": "from prefect import flow\n@flow\ndef tested(): ...",
}


def test_finds_functions_with_the_decorator_of_prefect(tmp_path: Path) -> None:
    write_project(tmp_path, "", FILES)
    assert find_flows(tmp_path) == ["flows.py:hello", "flows/etl.py:daily", "flows/etl.py:hourly"]
