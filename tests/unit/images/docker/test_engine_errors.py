"""Classification of engine errors."""

from __future__ import annotations

import pytest

from deployctl.clients.registry.errors import (
    Denied,
    NotInRegistry,
    RateLimited,
    RegistryUnreachable,
    TooLarge,
)
from deployctl.core.redact import register_secrets
from deployctl.images.docker.engine_errors import (
    BuildFailed,
    NeedsBuildKit,
    PushFailed,
    build_failed,
    push_failed,
)
from deployctl.images.reference import ImageReference

IMAGE = ImageReference.parse("registry.example.com/app:1")


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("denied: requested access to the resource is denied", Denied),
        ("unauthorized: authentication required", Denied),
        ("no basic auth credentials", Denied),
        ("received unexpected HTTP status: 403 Forbidden", Denied),
        ("received unexpected HTTP status: 413 Request Entity Too Large", TooLarge),
        ("denied: quota exceeded", TooLarge),
        ("toomanyrequests: You have reached your pull rate limit", RateLimited),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', RegistryUnreachable),
        (
            'Get "https://r/v2/": http: server gave HTTP response to HTTPS client',
            RegistryUnreachable,
        ),
        ("tls: failed to verify certificate: x509: unknown authority", RegistryUnreachable),
        ("name unknown: repository not found", NotInRegistry),
        ("blob upload invalid", PushFailed),
    ],
)
def test_failed_push_is_classified_by_its_cause(detail: str, kind: type[Exception]) -> None:
    error = push_failed(IMAGE, detail)
    assert type(error) is kind
    assert error.message == f"the engine cannot push 'registry.example.com/app:1': {detail}"
    assert "{" not in (error.help or "")


@pytest.mark.parametrize(
    ("detail", "buildx", "kind", "hint"),
    [
        ("the --mount option requires BuildKit.", False, NeedsBuildKit, "build_backend: buildx"),
        ("the --mount option requires BuildKit.", True, BuildFailed, None),
        ("pull access denied for x, repository does not exist", False, BuildFailed, "docker login"),
        ("The command 'sh' returned a non-zero code: 1: denied", False, BuildFailed, None),
        (
            "COPY failed: file not found in build context or excluded by .dockerignore: stat a",
            False,
            BuildFailed,
            ".dockerignore",
        ),
        (
            'failed to compute cache key: failed to calculate checksum of ref x: "/a": not found',
            True,
            BuildFailed,
            ".dockerignore",
        ),
        (
            'building at STEP "COPY a .": copier: stat: "/a": no such file or directory',
            False,
            BuildFailed,
            ".dockerignore",
        ),
        ("manifest for x:1 not found: manifest unknown", False, BuildFailed, "base image"),
    ],
)
def test_failed_build_has_the_help_of_its_cause(
    detail: str, buildx: bool, kind: type[Exception], hint: str | None
) -> None:
    error = build_failed("app", detail, "", [], buildx=buildx)
    assert type(error) is kind
    assert (error.help is None) if hint is None else (hint in str(error.help))


def test_failed_build_shows_position_and_last_lines_without_secrets() -> None:
    register_secrets(["hunter2hunter2"])
    lines = [f"line {number} hunter2hunter2" for number in range(30)]
    error = build_failed("app", "hunter2hunter2 it is", "Dockerfile:3 (RUN x)", lines)
    first, *shown = error.message.splitlines()
    assert first == "the build of 'app' failed at Dockerfile:3 (RUN x): ******** it is"
    assert len(shown) == 11
    assert shown[-1] == "  line 29 ********"
    assert error.help is None
