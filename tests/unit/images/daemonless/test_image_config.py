"""What instructions do to an image's configuration, where no engine is there to compare with."""

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
        ("EXPOSE x", "'x' is not a port"),
        ("EXPOSE 90-80", "'90-80' is not a port"),
        ("EXPOSE 70000", "'70000' is not a port"),
        ("HEALTHCHECK x", "HEALTHCHECK has the form"),
        ("HEALTHCHECK --interval=5 CMD x", "'5' is not a duration"),
        ("HEALTHCHECK --retries=a CMD x", "'a' is not a number"),
        ("STOPSIGNAL", "STOPSIGNAL has no value"),
        ("MAINTAINER", "MAINTAINER has no value"),
        ("SHELL x", "SHELL is a list"),
        ('VOLUME [""]', "VOLUME has an empty path"),
    ],
)
def test_values_that_docker_would_not_take(text: str, reason: str) -> None:
    with pytest.raises(BadInstruction, match=reason):
        configured(text)


def test_every_part_of_a_duration_counts() -> None:
    run = configured("HEALTHCHECK --interval=1h2m3.5s --timeout=4ms CMD x").run
    assert run["Healthcheck"] == {
        "Test": ["CMD-SHELL", "x"],
        "Interval": 3_723_500_000_000,
        "Timeout": 4_000_000,
    }


def test_run_is_not_about_the_configuration() -> None:
    (run,) = parse("FROM base\nRUN x").stages[0].instructions
    assert not ImageConfig({}).apply(run)


def test_the_base_is_left_as_it_is() -> None:
    base: Json = {"config": {"Env": ["A=1"], "Labels": {"a": "1"}}, "created": "2020"}
    result = configured("ENV A=2\nLABEL b=2", base)
    assert result.env["A"] == "2"
    assert base == {"config": {"Env": ["A=1"], "Labels": {"a": "1"}}, "created": "2020"}


def test_layers_and_history_go_on_from_the_base() -> None:
    base: Json = {
        "created": "2020",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
        "history": [{"created_by": "one"}, {"created_by": "x", "empty_layer": True}],
    }
    result = ImageConfig(base)
    result.told("ENV", layer=False)
    result.told("COPY", layer=True)
    whole = result.finished(["sha256:2"])
    assert whole["rootfs"]["diff_ids"] == ["sha256:1", "sha256:2"]
    assert layer_history(whole) == ["one", "COPY"]
    assert whole["created"] == "2020"


def test_a_history_that_does_not_fit_its_layers_is_left_out() -> None:
    result = ImageConfig({"rootfs": {"diff_ids": ["sha256:1"]}})
    result.told("COPY", layer=True)
    assert "history" not in result.finished(["sha256:2"])


def test_what_was_true_of_the_build_of_the_base_is_dropped() -> None:
    whole = ImageConfig({"container": "c", "docker_version": "1", "author": "a"}).finished([])
    assert whole.keys() == {"author", "os", "created", "config", "rootfs", "history"}
