# SPDX-License-Identifier: Apache-2.0
"""A selector is evaluated once for all devices that look alike to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from berth.cel import CelDevice, CelRuntimeError
from berth.engine.inventory import MAX_TABLES, Inventory
from berth.engine.patience import JudgementPending, Patience
from berth.engine.reads import Reads
from berth.engine.records import DeviceRecord
from berth.engine.verdicts import SelectorTable
from berth.errors import InvalidSelectorError
from berth.model.devices import AttributeValue
from tests.support.builders import Plain, a_device, a_slice, a_version


def a_record(driver: str = "gpu.example.com", **attributes: Plain) -> DeviceRecord:
    device = a_device(attributes=attributes)
    return DeviceRecord(device, a_slice([device], driver=driver), ())


MODEL = 'device.attributes["gpu.example.com"].model == "a100"'


class Counting:
    """Counts how often a compiled selector is asked."""

    def __init__(self, matches: Callable[[CelDevice], bool]) -> None:
        self._matches = matches
        self.calls = 0

    def __call__(self, device: CelDevice) -> bool:
        self.calls += 1
        return self._matches(device)


def counting(expression: str) -> tuple[SelectorTable, Counting]:
    table = SelectorTable(expression, Reads)
    counter = Counting(table._matches)
    table._matches = counter
    return table, counter


def test_devices_that_differ_elsewhere_are_evaluated_once() -> None:
    table, counter = counting(MODEL)
    records = [a_record(model="a100", index=n) for n in range(5)]
    assert [table.verdict(each) for each in records * 2] == [True] * 10
    assert counter.calls == 1
    assert table.verdict(a_record(model="t4")) is False
    assert counter.calls == 2


def test_an_error_is_a_verdict_too() -> None:
    table, counter = counting(MODEL)
    first, second = table.verdict(a_record(index=0)), table.verdict(a_record(index=1))
    assert isinstance(first, CelRuntimeError)
    assert first is second
    assert counter.calls == 1


@pytest.mark.parametrize(
    ("expression", "one", "other", "want"),
    [
        (
            'type(device.attributes["gpu.example.com"].x) == bool',
            a_record(x=True),
            a_record(x=1),
            (True, False),
        ),
        (
            'device.driver == "gpu.example.com"',
            a_record(),
            a_record("net.example.com"),
            (True, False),
        ),
        (
            "size(device.attributes) == 1",
            a_record(x=1),
            a_record(),
            (True, False),
        ),
    ],
    ids=["true and 1 are not alike", "the driver is read", "a whole map is read"],
)
def test_devices_that_are_not_alike_are_kept_apart(
    expression: str, one: DeviceRecord, other: DeviceRecord, want: tuple[bool, bool]
) -> None:
    table = SelectorTable(expression, Reads)
    assert (table.verdict(one), table.verdict(other)) == want


@pytest.mark.parametrize("value", [AttributeValue(), a_version("one")])
def test_a_value_that_cannot_be_read_fails_every_selector(value: AttributeValue) -> None:
    table = SelectorTable(MODEL, Reads)
    assert table.verdict(a_record(model="a100")) is True
    assert isinstance(table.verdict(a_record(model="a100", other=value)), CelRuntimeError)


def test_what_does_not_compile_says_so_for_every_device() -> None:
    table = SelectorTable("device.driver ==", Reads)
    verdict = table.verdict(a_record())
    assert isinstance(verdict, InvalidSelectorError)
    assert table.verdict(a_record("net.example.com")) is verdict


ONE_TO_150 = ",".join(map(str, range(150)))
COSTLY = f"[{ONE_TO_150}].all(x, [{','.join('123456789' * 5)}].all(y, x + y > 0))"
LONG = f"device.driver == 'gpu.example.com' && [{ONE_TO_150},{ONE_TO_150},{ONE_TO_150}].size() > 1"


@pytest.mark.parametrize("expression", [COSTLY, LONG])
def test_a_costly_selector_is_left_for_later_where_asked(expression: str) -> None:
    patience, record = Patience(), a_record()
    patience.later = True
    table = SelectorTable(expression, Reads, patience)
    with pytest.raises(JudgementPending) as caught:
        table.verdict(record)
    assert (caught.value.table, caught.value.record) == (table, record)
    assert table.is_costly
    table.judge(record)
    assert table.verdict(record) is True


def test_a_costly_selector_is_judged_at_once_where_nobody_else_waits() -> None:
    assert SelectorTable(COSTLY, Reads).verdict(a_record()) is True


def test_a_cheap_selector_is_never_left_for_later() -> None:
    patience = Patience()
    patience.later = True
    assert SelectorTable(MODEL, Reads, patience).verdict(a_record(model="a100")) is True


def test_a_long_expression_that_does_not_compile_says_so_when_judged() -> None:
    patience, record = Patience(), a_record()
    patience.later = True
    table = SelectorTable("device.driver == " + " " * 1000, Reads, patience)
    with pytest.raises(JudgementPending):
        table.verdict(record)
    table.judge(record)
    assert isinstance(table.verdict(record), InvalidSelectorError)


def test_only_so_many_selectors_are_remembered_and_those_in_use_stay() -> None:
    inventory = Inventory.build([a_slice([a_device()])])
    kept = inventory.verdicts(MODEL)
    for number in range(2 * MAX_TABLES):
        inventory.verdicts(f"device.driver == '{number % (MAX_TABLES + 10)}'")
        if number % 1000 == 0:
            assert inventory.verdicts(MODEL) is kept
    assert len(inventory._tables) == MAX_TABLES
