"""Parsing the output of engines."""

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


def parse_records(*records: Json) -> tuple[OutputParser, list[str]]:
    lines: list[str] = []
    output = OutputParser(lines.append)
    for record in records:
        output.feed(record)
    output.close()
    return output, lines


def test_text_pieces_are_joined_to_lines() -> None:
    pieces = ["Step 1/2 : FROM a", "\n", " ---> 12\nStep", " 2/2 : RUN x\n\n", "half"]
    output, lines = parse_records(*({"stream": piece} for piece in pieces))
    assert lines == output.lines == ["Step 1/2 : FROM a", " ---> 12", "Step 2/2 : RUN x", "half"]
    assert output.step == (2, 2)


def test_layer_states_are_lines_but_progress_is_not() -> None:
    progress = {"status": "Pushing", "id": "ab", "progressDetail": {"current": 1, "total": 2}}
    done = {"status": "Pushed", "id": "ab", "progressDetail": {}}
    assert parse_records({"status": "begins"}, progress, done)[1] == ["begins", "ab: Pushed"]


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
def test_result_of_a_stream(
    record: Json, id_: str | None, digest: str | None, failure: str | None
) -> None:
    output, _ = parse_records(record)
    assert (output.id, output.digest, output.failure) == (id_, digest, failure)


def test_id_of_a_record_takes_precedence_over_that_of_a_line() -> None:
    assert parse_records({"aux": {"ID": "long"}}, {"stream": "Successfully built 0123456789ab\n"})[
        0
    ].id == ("long")


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
def test_failed_line_is_found_by_its_step(line: str, failure: str, expected: str) -> None:
    output, _ = parse_records({"stream": f"{line}\n"}, {"error": failure})
    assert failed_instruction(DOCKERFILE, output) == expected


def test_items_are_yielded_until_a_stop_also_while_none_arrive() -> None:
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


def test_error_between_items_is_raised_after_them() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError

    seen = interruptible(items(), CancellationToken())
    assert next(seen) == 1
    with pytest.raises(ValueError):  # noqa: PT011 - the very error
        next(seen)
    assert list(interruptible([1, 2], CancellationToken())) == [1, 2]


def test_podman_reports_the_pushed_digest_in_a_line() -> None:
    output, digest = OutputParser(lambda _: None), f"sha256:{'a' * 64}"
    output.feed({"status": "The push refers to repository [r.test/app:1]"})
    output.feed({"status": f"1: digest: {digest} size: 578"})
    assert output.digest == digest
