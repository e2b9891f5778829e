"""Builds the job specification of a claimed flow run.

A worker fetches the references that `required_references` returns, secrets included;
`build_job_spec` makes no requests. The same source and library give the same specification on every
worker, which makes creating a job idempotent.

A job's name begins with text that users choose. The run's name is the one at the time of its claim.
Other parts of the text (or the namespace) can change during an attempt: creating a job again looks
for it by its labels first.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime

from deployctl.api.setting_fields import parse_flag
from deployctl.core.json_values import Json, digest, leaves
from deployctl.core.redact import is_secret_name, strip_userinfo
from deployctl.jobs import environment
from deployctl.jobs.manifest import main_container
from deployctl.jobs.model import (
    EXECUTE_COMMAND,
    InvalidJobSpec,
    JobSource,
    JobSpec,
    Limits,
    major_version,
)
from deployctl.jobs.names import name_slug
from deployctl.jobs.rendering import job_variables_of, render_variables, resolve_references
from deployctl.templating.references import Reference, ReferenceValues, references

DEFAULT_START_TIMEOUT = 60.0
"""Default of `pod_watch_timeout_seconds` in Prefect's templates, in seconds."""


def required_references(source: JobSource, environ: Mapping[str, str]) -> list[Reference]:
    """The server's blocks and variables that the run's job configuration refers to.

    `environ` is the worker's environment. Raises InvalidJobSpec as `build_job_spec` does.
    """
    return [reference for _, reference in references(render_variables(source, environ))]


def build_job_spec(
    source: JobSource,
    library: ReferenceValues,
    *,
    environ: Mapping[str, str],
    inherited: Mapping[str, str],
    default_start_timeout: float = DEFAULT_START_TIMEOUT,
) -> JobSpec:
    """Builds the job specification of a claimed run.

    `library` holds all of `required_references`, with secrets. `environ` is the worker's
    environment, for `{{ $HOME }}` in templates. `inherited` are the settings for jobs
    (`environment.inherited_settings`). `default_start_timeout` applies if the configuration
    has none. Raises InvalidJobSpec with a reason for the run's owner.
    """
    rendered = render_variables(source, environ)
    configuration = resolve_references(rendered, source, library)
    container = main_container(configuration.get("job_manifest"))
    job_env = environment.parse_environment(configuration.get("env"), "env")
    container_env = environment.parse_environment(
        container.get("env"), "env of the job manifest's container"
    )
    env = {
        **inherited,
        **environment.flow_run_variables(source),
        **job_env,
        **{name: value for name, value in container_env.items() if name not in job_env},
    }
    command = _command(container.get("args"), configuration.get("command"))
    literals = environment.literal_values(env)
    return JobSpec(
        run=source.flow_run["id"],
        attempt=source.attempt,
        pool=source.work_pool["id"],
        name=_name(source, configuration),
        worker=source.worker_name,
        configuration=configuration,
        command=command,
        env=literals,
        env_from={name: item for name, item in env.items() if environment.is_reference(item)},
        secret_env=_secret_names(literals, inherited, rendered, library),
        labels={**_labels(source), **_text_mapping(configuration.get("labels"), "labels")},
        annotations=_text_mapping(configuration.get("annotations"), "annotations"),
        limits=_limits(source, configuration, command, default_start_timeout),
        server_version=source.server_version,
    )


def _command(args: Json, command: Json) -> tuple[str, ...]:
    """The manifest's `args`, else the variable `command`, else EXECUTE_COMMAND."""
    value = command if args is None else args
    if isinstance(value, list):
        return tuple(map(str, value)) or EXECUTE_COMMAND
    if not isinstance(value, str | None):
        raise InvalidJobSpec("'command' is neither text nor a list of texts")
    try:
        return tuple(shlex.split(value or "")) or EXECUTE_COMMAND
    except ValueError as error:
        raise InvalidJobSpec(
            "'command' cannot be split into words: a quotation mark is missing"
        ) from error


def _name(source: JobSource, configuration: Mapping[str, Json]) -> str:
    """The job's name: at most 56 letters, digits and dashes, different for each attempt."""
    manifest = configuration.get("job_manifest") or {}
    metadata = manifest.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    candidates = (
        metadata.get("name"),
        metadata.get("generateName"),
        configuration.get("name"),
        source.flow_run.get("name"),
    )
    slugs = (name_slug(text) for text in candidates if isinstance(text, str))
    prefix = next((slug for slug in slugs if slug), "prefect-job")
    return f"{prefix}-{digest([source.flow_run['id'], source.attempt])[:10]}"


def _secret_names(
    env: Mapping[str, str],
    inherited: Mapping[str, str],
    rendered: Mapping[str, Json],
    library: ReferenceValues,
) -> frozenset[str]:
    """Names of the variables that hold a secret of the worker or of a block.

    Secrets are found by value, wherever the template placed them. A secret of fewer than four
    characters is not searched for within longer values.
    """
    secrets = {
        text
        for name, text in inherited.items()
        if is_secret_name(name) or name == environment.HEADERS or strip_userinfo(text) != text
    }
    for _, reference in references(rendered):
        if library.is_secret(reference):
            secrets |= {str(leaf) for _, leaf in leaves(library(reference)) if leaf}
    parts = [text for text in secrets if len(text) >= 4]
    return frozenset(
        name for name, text in env.items() if text in secrets or any(part in text for part in parts)
    )


def _labels(source: JobSource) -> dict[str, str]:
    """The labels that Prefect 3 sets on a job, before the rules of any runtime are applied."""
    flow, deployment = source.flow or {}, source.deployment or {}
    labels = {
        "prefect.io/flow-run-id": source.flow_run["id"],
        "prefect.io/flow-run-name": source.flow_run.get("name"),
        "prefect.io/version": source.server_version.partition("+")[0],
        "prefect.io/work-pool-name": source.work_pool.get("name"),
        "prefect.io/work-pool-id": source.work_pool["id"],
        "prefect.io/worker-name": source.worker_name,
        "prefect.io/flow-id": flow.get("id"),
        "prefect.io/flow-name": flow.get("name"),
        "prefect.io/deployment-id": deployment.get("id"),
        "prefect.io/deployment-name": deployment.get("name"),
        "prefect.io/deployment-updated": _timestamp(deployment.get("updated"), source),
    }
    return {name: text for name, text in labels.items() if text}


def _timestamp(text: str | None, source: JobSource) -> str:
    """A time in the format of Prefect's worker of the server's major version."""
    if not text:
        return ""
    timestamp = datetime.fromisoformat(text).astimezone(UTC).isoformat()
    if major_version(source.server_version) >= 3:
        return timestamp
    return timestamp.replace("+00:00", "Z")


def _text_mapping(value: Json, where: str) -> dict[str, str]:
    if not isinstance(value, dict | None):
        raise InvalidJobSpec(f"'{where}' is not a mapping")
    return {str(key): str(item) for key, item in (value or {}).items() if item is not None}


def _limits(
    source: JobSource,
    configuration: Mapping[str, Json],
    command: tuple[str, ...],
    default_start_timeout: float,
) -> Limits:
    start = _timeout(configuration, "pod_watch_timeout_seconds")
    set_by_user = any(
        "pod_watch_timeout_seconds" in job_variables_of(owner)
        for owner in (source.deployment, source.flow_run)
    )
    return Limits(
        start_timeout=default_start_timeout if start is None else start,
        start_timeout_explicit=start is not None
        and (set_by_user or start != default_start_timeout),
        run_timeout=_timeout(configuration, "job_watch_timeout_seconds"),
        ignores_cancellation="flow-run execute" not in " ".join(command),
        stream_output=_stream_output(configuration.get("stream_output")),
    )


def _stream_output(value: Json) -> bool:
    """Whether output is repeated; true by default. The words of Prefect's booleans are taken."""
    try:
        return value is None or parse_flag(value)
    except ValueError as error:
        raise InvalidJobSpec("'stream_output' is neither true nor false") from error


def _timeout(configuration: Mapping[str, Json], name: str) -> float | None:
    """A timeout in seconds; None if there is none, and for 0, which disables it."""
    value = configuration.get(name)
    try:
        seconds = float(0 if value is None else value)
    except (TypeError, ValueError) as error:
        raise InvalidJobSpec(f"'{name}' is not a number of seconds") from error
    return seconds if seconds > 0 else None
