# SPDX-License-Identifier: Apache-2.0
"""The CEL dialect of device selectors: compile an expression, evaluate it on a device.

Decides what an expression gives on a device, or why it is wrong; never whether a device is free.
A selector is parsed with cel-python's grammar, checked, and compiled to closures.

Source: KEP-4381 (``selectors[].cel.expression``); ``k8s.io/dynamic-resource-allocation/cel``.
"""

from __future__ import annotations

from berth.cel.analyse import Projection
from berth.cel.device import CelDevice
from berth.cel.false_parts import FalsePart, explain_false, guard_for
from berth.cel.selector import Measured, Program, Selector, compile_program, compile_selector
from berth.errors import CelRuntimeError

__all__ = [
    "CelDevice",
    "CelRuntimeError",
    "FalsePart",
    "Measured",
    "Program",
    "Projection",
    "Selector",
    "compile_program",
    "compile_selector",
    "explain_false",
    "guard_for",
]
