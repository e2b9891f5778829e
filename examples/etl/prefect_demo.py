"""Report on a repository. The first attempt of the task fails, to show a retry."""

import json
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.runtime import task_run

CATALOGUE = Path(__file__).with_name("repositories.json")


class CatalogueBusy(Exception):
    """The catalogue is busy; the task is retried."""


@task(retries=2, retry_delay_seconds=1)
def look_up(name: str) -> dict[str, object]:
    """Return what the catalogue knows about a repository."""
    if task_run.run_count < 2:
        raise CatalogueBusy(f"no answer about {name} yet")
    repositories = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return repositories[name]


@flow
def repo_info(name: str = "prefect") -> None:
    """Report on a repository.

    Args:
        name: The name of the repository in the catalogue.
    """
    repository = look_up(name)
    get_run_logger().info("%s %s: %s stars", name, repository["purpose"], repository["stars"])


if __name__ == "__main__":
    repo_info()
