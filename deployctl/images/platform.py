"""Platforms (`os/architecture/variant`), and choosing the best match from an image index.

A platform also runs images for older variants: `linux/amd64/v3` runs `linux/amd64`, and
`linux/arm64` runs 32-bit ARM images, which are the fallback if there is no image for arm64.
These are Docker's matching rules.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass

from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json

_ARCHITECTURES = {
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
"""Architecture names of `uname` and others → Go's name, with the variant that they imply."""
_PART = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a CPU architecture, by Go's names (GOOS, GOARCH)."""

    os: str
    architecture: str
    variant: str = ""
    """Like `v7`. "" for the default variant, which is never written: `v8` of arm64, `v1` of amd64.
    """

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parses `os/architecture[/variant]`. Raises UsageError."""
        if "," in text:
            raise UsageError(
                f"several platforms are not supported here: '{text}'",
                help="Name one platform, or build with Docker and buildx.",
            )
        parts = text.lower().split("/")
        if len(parts) not in (2, 3) or not all(map(_PART.fullmatch, parts)):
            raise UsageError(
                f"invalid platform '{text}'", help="Use the form os/architecture, like linux/amd64."
            )
        return cls.of(*parts)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """Normalizes the architecture and the variant: `aarch64` is `arm64`, `6` is `v6`."""
        architecture, _, implied = _ARCHITECTURES.get(architecture, architecture).partition("/")
        variant = variant or implied or ("v7" if architecture == "arm" else "")
        if variant and not variant.startswith("v"):
            variant = f"v{variant}"
        default = {"arm64": "v8", "amd64": "v1"}.get(architecture)
        return cls(os, architecture, "" if variant == default else variant)

    @classmethod
    def here(cls) -> Platform:
        """The platform of Linux containers on this machine."""
        return cls.of("linux", platform.machine().lower())

    def compatible(self) -> list[Platform]:
        """The platforms whose images run on this one, best match first."""
        number = int(self.variant[1:]) if self.variant[1:].isdigit() else 1
        if self.architecture == "amd64":
            return [Platform.of(self.os, "amd64", f"v{each}") for each in range(number, 0, -1)]
        if self.architecture == "arm":
            return [Platform.of(self.os, "arm", f"v{each}") for each in range(number, 4, -1)]
        if self.architecture == "arm64" and not self.variant:
            return [self, *Platform.of(self.os, "arm", "v8").compatible()]
        return [self]

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


def platform_from_config(config: Json) -> Platform | None:
    """The platform in an index entry or an image config; None if there is none."""
    os, architecture = (config or {}).get("os"), (config or {}).get("architecture")
    if not os or not architecture or "unknown" in (os, architecture):
        return None
    return Platform.of(str(os), str(architecture), str(config.get("variant") or ""))


def best_match(desired: Platform, offered: Iterable[Platform | None]) -> int | None:
    """Index of the best match in `offered`; None if nothing matches."""
    candidates = list(offered)
    matches = (candidates.index(each) for each in desired.compatible() if each in candidates)
    return next(matches, None)
