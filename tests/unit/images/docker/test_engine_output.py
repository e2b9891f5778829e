"""What engines tell of a build, read."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted
from deployctl.core.json_values import Json
from deployctl.images.docker.engine_output import OutputParser, failed_instruction, interruptible
from deployctl.images.dockerfile.parser import parse

DOCKERFILE = parse("ARG A\n\nFROM one AS x\n# why\nCOPY --from=y a \\\n  b /c/\nFROM x\nRUN make\n")


def told(*records: Json) -> tuple[OutputParser, list[str]]:
    lines: list[str] = []
    output = OutputParser(lines.append)
    for record in records:
        output.take(record)
    output.end()
    return output, lines


def test_pieces_of_text_become_lines() -> None:
    pieces = ["Step 1/2 : FROM a", "\n", " ---> 12\nStep", " 2/2 : RUN x\n\n", "half"]
    output, lines = told(*({"stream": piece} for piece in pieces))
    assert lines == output.lines == ["Step 1/2 : FROM a", " ---> 12", "Step 2/2 : RUN x", "half"]
    assert output.step == (2, 2)


def test_states_of_layers_are_lines_and_their_progress_is_not() -> None:
    moving = {"status": "Pushing", "id": "ab", "progressDetail": {"current": 1, "total": 2}}
    done = {"status": "Pushed", "id": "ab", "progressDetail": {}}
    assert told({"status": "begins"}, moving, done)[1] == ["begins", "ab: Pushed"]


@pytest.mark.parametrize(
    ("record", "id_", "digest", "failure"),
    [
        ({"aux": {"ID": "sha256:12"}}, "sha256:12", None, None),
        ({"stream": "Successfully built 0123456789ab\n"}, "0123456789ab", None, None),
        ({"aux": {"Tag": "1", "Digest": "sha256:34", "Size": 5}}, None, "sha256:34", None),
        ({"error": "short", "errorDetail": {"code": 1, "message": "long"}}, None, None, "long"),
        ({"error": "short"}, None, None, "short"),
        ({"errorDetail": None, "error": "short"}, None, None, "short"),
        ({"message": "not even begun"}, None, None, "not even begun"),
    ],
)
def test_what_came_of_it_is_kept(
    record: Json, id_: str | None, digest: str | None, failure: str | None
) -> None:
    output, _ = told(record)
    assert (output.id, output.digest, output.failure) == (id_, digest, failure)


def test_the_id_is_that_of_the_record_where_both_are_told() -> None:
    assert told({"aux": {"ID": "long"}}, {"stream": "Successfully built 0123456789ab\n"})[0].id == (
        "long"
    )


@pytest.mark.parametrize(
    ("line", "failure", "expected"),
    [
        ("Step 3/5 : COPY", "gone", "Dockerfile:5 (COPY --from=y a b /c/)"),
        ("STEP 5/5: RUN make", "exit status 1", "Dockerfile:8 (RUN make)"),
        ("Step 1/5 : ARG A", "no", "Dockerfile:1 (ARG A)"),
        ("Step 1/2 : FROM", "steps of another count", ""),
        ("nothing of steps", "no", ""),
        ("", "dockerfile parse error on line 7: unknown instruction", "Dockerfile:7"),
    ],
)
def test_the_line_that_failed_is_known_by_its_step(line: str, failure: str, expected: str) -> None:
    output, _ = told({"stream": f"{line}\n"}, {"error": failure})
    assert failed_instruction(DOCKERFILE, output) == expected


def test_items_pass_until_a_stop_is_asked_even_if_none_come() -> None:
    stop, silence = CancellationToken(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        silence.wait()

    seen = interruptible(items(), stop)
    assert next(seen) == 1
    stop.cancel()
    with pytest.raises(Interrupted):
        next(seen)
    silence.set()


def test_an_error_between_items_is_raised_after_them() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError

    seen = interruptible(items(), CancellationToken())
    assert next(seen) == 1
    with pytest.raises(ValueError):  # noqa: PT011 - the very error
        next(seen)
    assert list(interruptible([1, 2], CancellationToken())) == [1, 2]


def test_podman_tells_what_it_has_pushed_in_a_line() -> None:
    output, digest = OutputParser(lambda _: None), f"sha256:{'a' * 64}"
    output.take({"status": "The push refers to repository [r.test/app:1]"})
    output.take({"status": f"1: digest: {digest} size: 578"})
    assert output.digest == digest
