# SPDX-License-Identifier: Apache-2.0
"""Tolerations of device taints, and which taints they cover.

Decides only what the API defines: whether one toleration covers one taint.

Source: ``resource.k8s.io/v1`` DeviceToleration; KEP-5055.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.model.devices import DeviceTaint, TaintEffect


@dataclass(frozen=True, slots=True)
class DeviceToleration:
    """A toleration of device taints; ``effect`` empty means all effects.

    ``operator`` keeps the API's text, so that an unknown one can be copied and matches nothing.
    """

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None

    def tolerates(self, taint: DeviceTaint) -> bool:
        """Tell whether this toleration covers ``taint`` (KEP-5055); seconds play no role."""
        if self.effect and self.effect != taint.effect.value:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return self.operator in {"Equal", ""} and self.value == taint.value


BLOCKING_EFFECTS = frozenset({TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE})
