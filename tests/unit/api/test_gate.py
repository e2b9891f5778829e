from __future__ import annotations

import threading

from deployctl.api.gate import Gate


def one(gate: Gate, *, served: bool) -> bool:
    with gate.passing() as turn:
        pass
    if served:
        gate.served()
        return False
    return gate.refused(turn)


def test_it_opens_with_every_answer_until_the_first_refusal() -> None:
    gate = Gate(2, 16)
    for _ in range(20):
        one(gate, served=True)
    assert gate.limit == 16


def test_it_halves_when_it_is_refused_and_then_opens_slowly() -> None:
    gate = Gate(16, 16)
    assert one(gate, served=False)
    assert gate.limit == 8
    for _ in range(15):
        one(gate, served=True)
    assert gate.limit == 8
    one(gate, served=True)
    assert gate.limit == 9


def test_each_further_refusal_makes_it_more_patient() -> None:
    gate = Gate(16, 16)
    one(gate, served=False)
    one(gate, served=False)
    for _ in range(31):
        one(gate, served=True)
    assert gate.limit == 4
    one(gate, served=True)
    assert gate.limit == 5


def test_those_that_were_refused_together_count_once() -> None:
    gate = Gate(16, 16)
    with gate.passing() as first, gate.passing() as second, gate.passing() as third:
        assert gate.refused(first)
        assert gate.refused(second)
        assert gate.refused(third)
    assert gate.limit == 8


def test_a_request_that_was_alone_was_not_refused_because_of_others() -> None:
    gate = Gate(1, 16)
    assert not one(gate, served=False)
    assert gate.limit == 1


def test_no_more_pass_than_the_limit() -> None:
    gate = Gate(1, 1)
    entered = threading.Event()

    def enter() -> None:
        with gate.passing():
            entered.set()

    with gate.passing():
        second = threading.Thread(target=enter)
        second.start()
        assert not entered.wait(0.05)
    second.join(5)
    assert entered.is_set()
