"""The catalogue of diagnostics: every code with its severity and title.

Codes are stable: scripts and bug reports refer to them. `pages/CODE.md` beside this module says
what a code means, shows an example, and says what to do; `deployctl explain CODE` prints title and
page, and `docs/diagnostics.md` lists all codes. `tests/unit/test_pages.py` checks that every code
in the source has an entry and a page, and that every entry is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """The weight of a diagnostic: only errors stop a command (and warnings with `--strict`)."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What is known of a code without a finding."""

    severity: Severity
    """The usual severity; a check may use another where it says why."""
    title: str


def _entries(severity: Severity, titles: Mapping[str, str]) -> dict[str, CatalogueEntry]:
    return {code: CatalogueEntry(severity, title) for code, title in titles.items()}


_ERRORS = _entries(
    Severity.ERROR,
    {
        # DC0xx: commands, settings, the Prefect server
        "DC001": "deployctl cannot continue",
        "DC002": "invalid command line",
        "DC003": "a setting is missing or invalid",
        "DC004": "a program failed",
        "DC005": "a build or push step failed",
        "DC006": "the command was interrupted",
        "DC007": "a request to the Prefect server failed",
        "DC008": "the time limit passed",
        "DC010": "the Prefect server does not answer",
        "DC011": "the result of a request is unknown",
        "DC012": "the Prefect server rejects the credentials",
        "DC013": "the Prefect server does not have this object",
        "DC014": "conflict on the Prefect server",
        "DC015": "the Prefect server rejects a value",
        "DC016": "internal error of the Prefect server",
        # DC1xx: the file, its YAML and its keys
        "DC100": "the file does not exist",
        "DC101": "the file cannot be read",
        "DC102": "the file is not UTF-8",
        "DC103": "invalid YAML",
        "DC104": "a template without quotes",
        "DC105": "duplicate key",
        "DC106": "invalid anchor, alias or merge key",
        "DC107": "unsupported YAML tag",
        "DC108": "the file is empty",
        "DC109": "the file is not a mapping",
        "DC110": "more than one YAML document",
        "DC112": "a number that JSON cannot express",
        "DC113": "values are nested too deeply or repeated too often",
        "DC124": "a value out of range",
        "DC125": "a character that names cannot contain",
        "DC127": "a required key is missing",
        "DC128": "a value of the wrong type",
        "DC129": "duplicate name",
        "DC130": "the base job template of a work pool cannot be read",
        "DC132": "two work queues with one priority",
        "DC133": "a placeholder that cannot be resolved here",
        "DC140": "unknown environment",
        "DC141": "an environment changes a deployment that is not there",
        "DC142": "a value that the environment does not have",
        "DC143": "an environment variable that is not set",
        "DC150": "a deployment cannot be renamed",
        # DC2xx: schedules and triggers
        "DC200": "a schedule needs exactly one of cron, interval and rrule",
        "DC201": "invalid cron expression",
        "DC203": "a cron expression that never fires",
        "DC204": "unknown time zone",
        "DC206": "invalid date and time",
        "DC207": "invalid recurrence rule",
        "DC208": "duplicate slug of a schedule",
        "DC209": "both schedule and schedules",
        "DC212": "a recurrence rule that never fires",
        "DC230": "a trigger that fires on every event",
        "DC231": "a proactive trigger with too short a time",
        "DC232": "a compound trigger that cannot fire",
        "DC233": "two triggers with one name",
        "DC240": "a variable that no server accepts",
        "DC241": "a concurrency limit that is neither global nor of a tag",
        "DC242": "a value of a block cannot be read",
        # DC3xx: placeholders, references and steps
        "DC302": "an environment variable is not set",
        "DC303": "no step provides this value",
        "DC304": "block or variable not found",
        "DC305": "the block has no such value",
        "DC306": "a secret would be stored in plain text",
        "DC320": "invalid step",
        "DC321": "a step does not name a function",
        "DC322": "a step with invalid inputs",
        "DC330": "no step has this id",
        "DC340": "the file of --images is not usable",
        "DC341": "the file of --images lacks a deployment",
        "DC342": "a step printed a secret",
        # DC4xx: flow code and parameters
        "DC401": "an entrypoint without a function",
        "DC403": "the file of the entrypoint does not exist",
        "DC404": "the file has no such function",
        "DC405": "the function is not a flow",
        "DC406": "the file is not valid Python",
        "DC407": "the name of the flow is not known",
        "DC408": "the module cannot be imported",
        "DC409": "importing the module takes too long or ends the interpreter",
        "DC420": "a parameter of the wrong type",
        "DC421": "the flow has no such parameter",
        # DC5xx: plan and apply, work pools, job variables
        "DC510": "the work pool does not exist",
        "DC511": "the deployment names no work pool",
        "DC513": "the server does not support this automation",
        "DC515": "the work pool has another type",
        "DC519": "a resource belongs to another project",
        "DC520": "the changes could not be confirmed",
        "DC525": "another deploy of the project is in the way",
        "DC528": "pruning would delete more than expected",
        "DC547": "a deployment on the server cannot be renamed",
        "DC560": "the plan is not the approved one",
        "DC561": "the file of --plan is not usable",
        "DC563": "there is no such revision",
        "DC530": "a job variable of the wrong type",
        "DC540": "this server does not accept a declared resource",
        "DC542": "the server lacks a type of blocks",
        "DC533": "the base job template is not valid",
        "DC534": "a base job template uses an undeclared variable",
        "DC535": "a default in a base job template has the wrong type",
        # DC6xx: the worker, runs, container engines and clusters
        "DC601": "the job of a flow run cannot be created",
        "DC602": "the infrastructure does not answer",
        "DC603": "the worker cannot serve the work pool",
        "DC610": "the Kubernetes API rejects a request",
        "DC611": "the Kubernetes API does not answer",
        "DC612": "no Kubernetes cluster is configured",
        "DC640": "no job can be made from a flow run",
        "DC650": "the container engine rejects a request",
        "DC651": "the container engine does not answer",
        "DC660": "not found on the server",
        "DC661": "an ambiguous name of a deployment",
        "DC662": "a required parameter is missing",
        "DC663": "the deployment has not run yet",
        "DC664": "the flow run was deleted",
        "DC680": "the HTTP server cannot listen",
        "DC681": "invalid file of a base job template",
        "DC690": "the local Prefect server cannot be started",
        # DC7xx: images and registries
        "DC700": "invalid image name",
        "DC701": "invalid pattern in .dockerignore",
        "DC702": "a file of the build context cannot be read",
        "DC703": "an error in the Dockerfile",
        "DC704": "an invalid variable or quote in the Dockerfile",
        "DC710": "unexpected answer of the registry",
        "DC711": "the registry cannot be reached",
        "DC712": "not found in the registry",
        "DC713": "the registry denies access",
        "DC714": "the content is too large for the registry",
        "DC715": "too many requests to the registry",
        "DC716": "internal error of the registry",
        "DC717": "content does not match its digest",
        "DC718": "not a runnable image",
        "DC719": "no image for this platform",
        "DC720": "the registry credentials cannot be read",
        "DC730": "the image build failed",
        "DC731": "the Dockerfile needs BuildKit",
        "DC732": "unknown option of a build step",
        "DC733": "the push of an image failed",
        "DC734": "buildx is not installed",
        "DC735": "the image to push is not in the engine",
        "DC736": "the Dockerfile needs a container engine",
        "DC737": "invalid source or destination of COPY",
        "DC738": "requirements cannot be installed without an engine",
        "DC739": "the image to push was not built by this command",
        "DC740": "an image was built but not pushed",
        "DC741": "a layer cannot be written to disk",
        # DC8xx: Kubernetes manifests
        "DC801": "unknown value of a manifest",
        "DC802": "invalid value of a manifest",
        "DC803": "a value of a manifest is missing or refused",
    },
)
_WARNINGS = _entries(
    Severity.WARNING,
    {
        "DC111": "a key that YAML does not read as text",
        "DC120": "unknown key",
        "DC121": "a key in the wrong place",
        "DC122": "a key that Prefect wrote and no longer accepts",
        "DC123": "a value that Prefect reads differently",
        "DC126": "an empty value",
        "DC131": "a reserved key",
        "DC151": "a deployment that an option may select",
        "DC134": "a deployment without any values",
        "DC202": "a cron expression with an unusual meaning",
        "DC210": "two equal schedules",
        "DC211": "a key for another kind of schedule",
        "DC301": "malformed placeholder",
        "DC307": "a credential is stored in plain text",
        "DC323": "shell syntax in a script that no shell runs",
        "DC325": "runs will look for the code in a directory of this machine",
        "DC402": "an entrypoint with an absolute path",
        "DC410": "a flow read only in part",
        "DC422": "a scheduled run lacks a required parameter",
        "DC501": "an old version of the Prefect server",
        "DC512": "the server does not support this field",
        "DC514": "service levels are not deployed",
        "DC516": "the work pool declares no such queue",
        "DC527": "deploys of the project are not kept apart",
        "DC529": "errors of a deploy that does not fail",
        "DC562": "a deploy is missing in the history",
        "DC531": "the work pool has no such job variable",
        "DC532": "a required job variable is missing",
        "DC536": "a base job template declares an unused variable",
        "DC541": "this server stores the value as text",
        "DC546": "the project to destroy has applied nothing",
        "DC550": "a deployment cannot be exported",
        "DC551": "an exported entry leaves something out",
        "DC553": "the code differs from an exported deployment",
        "DC668": "a flow run that does not start yet",
    },
)
_NOTES = _entries(
    Severity.NOTE,
    {
        "DC521": "a field is no longer declared",
        "DC522": "a reference is stored instead of its value",
        "DC523": "an image is named by its digest",
        "DC524": "a resource is no longer declared",
        "DC526": "another deploy of the project wrote at the same time",
        "DC545": "a resource stays when its project is destroyed",
        "DC552": "an exported file needs secrets from the environment",
        "DC548": "a delete and a create that look like a rename",
        "DC665": "several flow runs have this name",
        "DC666": "no logs",
        "DC667": "the flow run that is shown for a deployment",
    },
)
CATALOGUE: Mapping[str, CatalogueEntry] = dict(sorted({**_ERRORS, **_WARNINGS, **_NOTES}.items()))

_PAGES = Path(__file__).with_name("pages")


def page(code: str) -> str:
    """Title and page of a code in Markdown. Raises KeyError for an unknown code."""
    entry = CATALOGUE[code]
    body = (_PAGES / f"{code}.md").read_text(encoding="utf-8")
    return f"# {code}: {entry.title}\n\nSeverity: {entry.severity}.\n\n{body}"


def overview() -> str:
    """The contents of docs/diagnostics.md: all codes with severity and title."""
    lines = [
        "# Diagnostics",
        "",
        "Every error and warning of deployctl has a code. `deployctl explain CODE` says what it",
        "means, shows an example, and says what to do. Errors stop a command before anything is",
        "written; warnings do so only with `--strict`.",
        "",
        "Written by `python -m deployctl.core.catalogue > docs/diagnostics.md`.",
        "",
    ]
    for prefix, heading in _GROUPS.items():
        entries = {code: e for code, e in CATALOGUE.items() if code.startswith(prefix)}
        lines += [f"## {heading}", "", "| code | severity | title |", "|---|---|---|"]
        lines += [f"| {code} | {e.severity} | {e.title} |" for code, e in entries.items()]
        lines.append("")
    return "\n".join(lines)


_GROUPS = {
    "DC0": "Commands, settings and the Prefect server",
    "DC1": "The file",
    "DC2": "Schedules and triggers",
    "DC3": "Placeholders, references and steps",
    "DC4": "Flow code and parameters",
    "DC5": "Plan and apply, work pools and job variables",
    "DC6": "The worker, flow runs, engines and clusters",
    "DC7": "Images and registries",
    "DC8": "Kubernetes manifests",
}

if __name__ == "__main__":
    print(overview(), end="")
