"""Changes of the image config that are not compared with those of an engine."""

from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.images.daemonless.image_config import BadInstruction, ImageConfig, layer_history
from deployctl.images.dockerfile.parser import parse


def configured(text: str, base: Json | None = None) -> ImageConfig:
    result = ImageConfig(base or {})
    for each in parse(f"FROM base\n{text}").stages[0].instructions:
        assert result.apply(each)
    return result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("EXPOSE x", "invalid port or range of ports 'x'"),
        ("EXPOSE 90-80", "invalid port or range of ports '90-80'"),
        ("EXPOSE 70000", "invalid port or range of ports '70000'"),
        ("HEALTHCHECK x", "HEALTHCHECK must have the form"),
        ("HEALTHCHECK --interval=5 CMD x", "invalid duration '5'"),
        ("HEALTHCHECK --retries=a CMD x", "invalid number of retries 'a'"),
        ("STOPSIGNAL", "STOPSIGNAL has no value"),
        ("MAINTAINER", "MAINTAINER has no value"),
        ("SHELL x", "SHELL must be a JSON list"),
        ('VOLUME [""]', "VOLUME has an empty path"),
    ],
)
def test_invalid_values(text: str, reason: str) -> None:
    with pytest.raises(BadInstruction, match=reason):
        configured(text)


def test_duration_is_the_sum_of_its_parts() -> None:
    run = configured("HEALTHCHECK --interval=1h2m3.5s --timeout=4ms CMD x").run
    assert run["Healthcheck"] == {
        "Test": ["CMD-SHELL", "x"],
        "Interval": 3_723_500_000_000,
        "Timeout": 4_000_000,
    }


def test_run_does_not_change_the_config() -> None:
    (run,) = parse("FROM base\nRUN x").stages[0].instructions
    assert not ImageConfig({}).apply(run)


def test_base_config_is_not_modified() -> None:
    base: Json = {"config": {"Env": ["A=1"], "Labels": {"a": "1"}}, "created": "2020"}
    result = configured("ENV A=2\nLABEL b=2", base)
    assert result.env["A"] == "2"
    assert base == {"config": {"Env": ["A=1"], "Labels": {"a": "1"}}, "created": "2020"}


def test_layers_and_history_are_appended_to_those_of_the_base() -> None:
    base: Json = {
        "created": "2020",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        "history": [{"created_by": "one"}, {"created_by": "x", "empty_layer": True}],
    }
    result = ImageConfig(base)
    result.add_history("ENV", layer=False)
    result.add_history("COPY", layer=True)
    whole = result.as_json(["sha256:2"])
    assert whole["rootfs"]["diff_ids"] == ["sha256:1", "sha256:2"]
    assert layer_history(whole) == ["one", "COPY"]
    assert whole["created"] == "2020"


def test_history_that_does_not_match_the_layers_is_dropped() -> None:
    result = ImageConfig({"rootfs": {"diff_ids": ["sha256:1"]}})
    result.add_history("COPY", layer=True)
    assert "history" not in result.as_json(["sha256:2"])


def test_build_specific_keys_of_the_base_are_dropped() -> None:
    whole = ImageConfig({"container": "c", "docker_version": "1", "author": "a"}).as_json([])
    assert whole.keys() == {"author", "os", "created", "config", "rootfs", "history"}
