# SPDX-License-Identifier: Apache-2.0
"""Checks of one device for one request that need no search.

Decides whether a device matches a request, and whether anything that was so before the attempt
keeps it from being taken. What the attempt itself takes is ``berth.engine.attempt``.

Source: ``resource.k8s.io/v1`` DeviceRequest.selectors, DeviceClass.selectors; KEP-5018 (admin
access), KEP-5055 (taints), KEP-5007, KEP-5945; KEP-4815, KEP-5963 and KEP-5075 in modules of their
own.
"""

from __future__ import annotations

from typing import Protocol

from berth.engine.capacity import CapacityError, CapacityRules
from berth.engine.charges import ChargeBaseline
from berth.engine.pools import NodeView
from berth.engine.records import DeviceRecord
from berth.engine.rejections import (
    FeatureOff,
    InUse,
    Rejection,
    SelectorFailed,
    SelectorFalse,
    Tainted,
)
from berth.engine.snapshot import Snapshot
from berth.engine.verdicts import SelectorTable
from berth.errors import (
    ClaimSelectorError,
    InvalidClaimError,
    InvalidSelectorError,
    SelectorRuntimeError,
)
from berth.model.claims import ExactRequest, RequestRef

OPTIONAL_NODE_OPERATIONS = "DRAOptionalNodeOperations"
"""The feature that a node must declare before its devices may skip node operations."""


class Elsewhere:
    """The device is published for other nodes (``perDeviceNodeSelection``).

    No rejection: nobody who asks about this node is told of devices that it does not see.
    """


ELSEWHERE = Elsewhere()


class PlannedSelector:
    """One selector of a class or a request, with what is known of its verdicts."""

    __slots__ = ("claim", "expression", "false", "index", "owner", "request", "table")

    def __init__(  # noqa: PLR0913 - the coordinates of a selector
        self,
        owner: str,
        index: int,
        expression: str,
        table: SelectorTable,
        *,
        claim: str,
        request: str,
    ) -> None:
        self.owner = owner
        self.index = index
        self.expression = expression
        self.table = table
        self.claim = claim
        self.request = request
        self.false = SelectorFalse(owner, index, expression)

    def refusal(self, record: DeviceRecord) -> SelectorFalse | None:
        """Return ``None`` where the selector is true.

        Raises:
            ClaimSelectorError: If it does not compile.
            SelectorRuntimeError: If it fails on the device.
        """
        verdict = self.table.verdict(record)
        if verdict is True:
            return None
        if verdict is False:
            return self.false
        owner = self.owner if self.owner != "request" else f"claim {self.claim}"
        if isinstance(verdict, InvalidSelectorError):
            raise ClaimSelectorError(
                verdict, claim=self.claim, request=self.request, owner=owner, selector=self.index
            )
        raise SelectorRuntimeError(
            claim=self.claim,
            request=self.request,
            owner=owner,
            selector=self.index,
            device=str(record.id),
            detail=verdict.detail,
            expression=self.expression,
            span=verdict.span,
        )


class Wanting(Protocol):
    """What is read of a planned request."""

    @property
    def ref(self) -> RequestRef:
        """The name of the request."""

    @property
    def body(self) -> ExactRequest:
        """The request as written."""

    @property
    def selectors(self) -> tuple[PlannedSelector, ...]:
        """Selectors of the class, then of the request."""

    @property
    def admin(self) -> bool:
        """Whether usage by others does not matter."""


class Eligibility:
    """Checks against one snapshot, for one node."""

    __slots__ = (
        "_allocated",
        "_charges",
        "_claim",
        "_features",
        "_view",
        "capacity",
    )

    def __init__(self, snapshot: Snapshot, view: NodeView, claim: str) -> None:
        self._allocated = snapshot.allocated
        self._features = snapshot.features
        self._view = view
        self._claim = claim
        self.capacity = CapacityRules(snapshot.allocated, snapshot.features)
        self._charges: ChargeBaseline | None = None

    @property
    def charges(self) -> ChargeBaseline:
        """What pools have left; built when a device first asks, which most never do."""
        if self._charges is None:
            self._charges = ChargeBaseline(
                self._view, self._allocated, whole_pool=self._features.as_release_1_37
            )
        return self._charges

    def refusal(self, planned: Wanting, record: DeviceRecord) -> Rejection | Elsewhere | None:
        """Return why the device cannot be taken, in the order of an ExactCount search.

        Availability comes before selectors: a selector that would fail on a device in use is
        never evaluated there.
        """
        return (
            self.in_use(planned, record)
            or self.unselectable(planned, record)
            or self.untakable(planned, record)
        )

    def explanation(self, planned: Wanting, record: DeviceRecord) -> Rejection | None:
        """Return why a device that the node sees cannot be taken, most telling reason first.

        A device that does not match at all is not "in use" in the eyes of who asks. A selector
        that fails is a reason like others here.
        """
        refused: Rejection | Elsewhere | None
        try:
            refused = self.unselectable(planned, record)
        except (SelectorRuntimeError, ClaimSelectorError) as error:
            owner = error.owner if error.owner.startswith("class ") else "request"
            refused = SelectorFailed(owner, error.selector, error.expression, error.detail)
        if isinstance(refused, Elsewhere):
            raise AssertionError(  # noqa: TRY004 - a broken invariant, not a wrong argument
                f"{record} is not on node {self._view.node.name}"
            )
        return refused or self.in_use(planned, record) or self.untakable(planned, record)

    def in_use(self, planned: Wanting, record: DeviceRecord) -> Rejection | None:
        """Return ``InUse`` for a device that is exclusively allocated, but for admin access."""
        if planned.admin:
            return None
        holders = self._allocated.holders.get(record.id)
        if holders is None and not self._features.consumable_capacity:
            # Without the feature nobody can share: every result counts as exclusive.
            holders = self._allocated.shared.get(record.id)
        return None if holders is None else InUse(tuple(sorted(holders)))

    def unselectable(self, planned: Wanting, record: DeviceRecord) -> Rejection | Elsewhere | None:
        """Return why the device is none of those that the request describes.

        Raises:
            ClaimSelectorError, SelectorRuntimeError: If a selector fails.
            InvalidClaimError: If the node selector of the device cannot be read, or amounts of
                capacity cannot be computed with.
        """
        # Selectors come first, as upstream: one that fails is fatal even if another node is meant.
        for selector in planned.selectors:
            refused = selector.refusal(record)
            if refused is not None:
                return refused
        view = self._view
        if record in view.unreachable:
            return ELSEWHERE
        if record in view.mistakes:
            raise InvalidClaimError(
                self._claim,
                str(planned.ref),
                view.mistakes[record],
                reason="InvalidNodeSelector",
            )
        if record.device.binding_conditions and not self._features.device_binding_and_status:
            return FeatureOff("DRADeviceBindingConditions")
        if record.has_capacity_rules or planned.body.capacity_requests:
            return self._unsuitable(planned, record)
        return None

    def _unsuitable(self, planned: Wanting, record: DeviceRecord) -> Rejection | None:
        if not self.capacity.is_on:
            return None
        try:
            return self.capacity.unsuitable(planned.body, record)
        except CapacityError as error:
            raise InvalidClaimError(
                self._claim,
                str(planned.ref),
                f"device {record.id}: {error}",
                reason="CapacityOutOfRange",
            ) from None

    def untakable(self, planned: Wanting, record: DeviceRecord) -> Rejection | None:
        """Return why a device that matches and is not exclusively in use cannot be taken."""
        device = record.device
        if not planned.admin and not device.allow_multiple_allocations:
            shared = self._allocated.shared.get(record.id)
            if shared is not None:
                # The driver made a shared device exclusive while shares of it are out.
                return InUse(tuple(sorted(shared)))
        if record.slice.skip_node_operations and not (
            self._features.optional_node_operations
            and OPTIONAL_NODE_OPERATIONS in self._view.node.declared_features
        ):
            return FeatureOff(OPTIONAL_NODE_OPERATIONS)
        if device.consumes_counters and not self.has_paid(record):
            if not self._features.partitionable_devices:
                return FeatureOff("DRAPartitionableDevices")
            refused = self.charges.refusal(record)
            if refused is not None:
                return refused
        if record.taints and self._features.device_taints:
            for taint in record.taints:
                if not any(each.tolerates(taint) for each in planned.body.tolerations):
                    return Tainted(taint)
        if self.capacity.is_on and (record.has_capacity_rules or planned.body.capacity_requests):
            return self.capacity.short(planned.body, record)
        return None

    def has_paid(self, record: DeviceRecord) -> bool:
        """Tell whether shares of the device are out, so that its counters are charged already."""
        device = record.id
        return self.capacity.is_shared(record) and (
            device in self._allocated.shared or device in self._allocated.capacity
        )
