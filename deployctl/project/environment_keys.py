"""The keys of an environment: of an item of `environments:`, and of `prefect.NAME.yaml`."""

from __future__ import annotations

from deployctl.project import moved_keys as moved
from deployctl.project.shapes import Either, Key, ListOf, MapOf, Mapping_, Table, Text


def environments(deployment: Table) -> Key:
    """The key `environments` of a file whose deployments have these keys."""
    doc = "What `--env NAME` changes, by name of the environment or by a pattern with `*`."
    return Key(MapOf(environment_table(deployment)), doc, null={})


def environment_table(deployment: Table) -> Table:
    """The table of one environment of such a file."""

    return Table(
        "environment",
        {
            "name_prefix": Key(Text(), "Stands before the name of each deployment."),
            "name_suffix": Key(Text(), "Stands after the name of each deployment."),
            "work_pool": Key(
                Either(plain=Text(), mapping=deployment.keys["work_pool"].shape),
                "Merged into that of each deployment; text is the pool's name.",
            ),
            "job_variables": Key(Mapping_(), "Merged into those of each deployment.", null={}),
            "parameters": Key(Mapping_(), "Merged into those of each deployment.", null={}),
            "tags": Key(ListOf(Text(), single=True), "Added to those of each deployment.", null=[]),
            "paused": Key(deployment.keys["paused"].shape, "Whether deployments are paused."),
            "deployments": Key(
                MapOf(deployment, partial=True),
                "Keys of a deployment by its name, or by a pattern with `*`. Mappings are merged "
                "into those of the deployment; other values replace them.",
                null={},
            ),
            "values": Key(Mapping_(), "Values of `{{ env.NAME }}` anywhere in the file.", null={}),
            "api_url": Key(Text(), "URL of the Prefect API, unless an option names a server."),
            "profile": Key(Text(), "Prefect profile, unless an option names a server."),
        },
        moved={
            "prefix": moved.rename("name_prefix"),
            "suffix": moved.rename("name_suffix"),
            "pool": moved.rename("work_pool"),
            "variables": moved.rename("values"),
        },
        strict=True,
    )
