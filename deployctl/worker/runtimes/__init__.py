"""Runtimes: where jobs run. Kubernetes, Docker, or local processes."""

from __future__ import annotations

from enum import StrEnum


class RuntimeKind(StrEnum):
    """The runtimes, by the name of their work pool type and of the option `--type`."""

    KUBERNETES = "kubernetes"
    DOCKER = "docker"
    PROCESS = "process"
