"""Where jobs run: Kubernetes, Docker, or processes of this machine."""

from __future__ import annotations

from enum import StrEnum


class RuntimeKind(StrEnum):
    """Which of them, as the command line says it and as the types of work pools are called."""

    KUBERNETES = "kubernetes"
    DOCKER = "docker"
    PROCESS = "process"
