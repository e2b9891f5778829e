"""Which machine an image is for, and which of several images fits one best.

A machine also runs what was made for its predecessors: `linux/amd64/v3` runs `linux/amd64`, and
`linux/arm64` what was made for 32-bit ARM, so that comes next where nothing is made for it. These
are the rules that Docker picks by.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass

from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json

_MACHINES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm/v6",
    "armv7l": "arm/v7",
    "armv6l": "arm/v6",
    "i386": "386",
    "i686": "386",
}
_PART = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and the processor below it, by Go's names."""

    os: str
    architecture: str
    variant: str = ""
    """`v7` and the like; "" is the usual one, and never written out: `v8` of arm64, `v1` of amd64.
    """

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Reads `os/architecture[/variant]`. Raises UsageError."""
        if "," in text:
            raise UsageError(
                f"'{text}' are several platforms", help="only Docker with buildx builds for several"
            )
        parts = text.lower().split("/")
        if len(parts) not in (2, 3) or not all(map(_PART.fullmatch, parts)):
            raise UsageError(
                f"'{text}' is not a platform", help="it has the form os/architecture: linux/amd64"
            )
        return cls.of(*parts)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """A platform by names that may be those of another system."""
        architecture, _, implied = _MACHINES.get(architecture, architecture).partition("/")
        variant = variant or implied or ("v7" if architecture == "arm" else "")
        if variant and not variant.startswith("v"):
            variant = f"v{variant}"
        usual = {"arm64": "v8", "amd64": "v1"}.get(architecture)
        return cls(os, architecture, "" if variant == usual else variant)

    @classmethod
    def here(cls) -> Platform:
        """This machine, as containers see it."""
        return cls.of("linux", platform.machine().lower())

    def runs(self) -> list[Platform]:
        """All that can be run there, best first."""
        number = int(self.variant[1:]) if self.variant[1:].isdigit() else 1
        if self.architecture == "amd64":
            return [Platform.of(self.os, "amd64", f"v{each}") for each in range(number, 0, -1)]
        if self.architecture == "arm":
            return [Platform.of(self.os, "arm", f"v{each}") for each in range(number, 4, -1)]
        if self.architecture == "arm64" and not self.variant:
            return [self, *Platform.of(self.os, "arm", "v8").runs()]
        return [self]

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def platform_from_config(about: Json) -> Platform | None:
    """The platform that an index or an image's configuration names; None for none."""
    os, architecture = (about or {}).get("os"), (about or {}).get("architecture")
    if not os or not architecture or "unknown" in (os, architecture):
        return None
    return Platform.of(str(os), str(architecture), str(about.get("variant") or ""))


def best_match(wanted: Platform, offered: Iterable[Platform | None]) -> int | None:
    """The place of the best fit among what is offered; None if nothing fits."""
    places = list(offered)
    return next((places.index(each) for each in wanted.runs() if each in places), None)
