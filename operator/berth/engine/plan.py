# SPDX-License-Identifier: Apache-2.0
"""From claims to an ordered, validated list of what must be found.

Decides whether the claims can be honoured as written, and which devices a request for All means.
Never decides whether they can be had.

Source: ``resource.k8s.io/v1`` DeviceRequest, DeviceSubRequest, DeviceConstraint; KEP-4816.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from berth.engine.derived import NO_DERIVED, DerivedAttributes
from berth.engine.eligibility import Eligibility, PlannedSelector
from berth.engine.pools import NodeView
from berth.engine.records import DeviceRecord
from berth.engine.rejections import NodeProblem, PoolIncomplete
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import (
    ALL,
    EXACT_COUNT,
    MAX_DEVICES_PER_CLAIM,
    DeviceRequest,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.model.features import Features
from berth.model.slices import DeviceClass


class NodeFailureError(Exception):
    """The node cannot be used, whatever is searched; ``problem`` says why."""

    def __init__(self, problem: NodeProblem) -> None:
        self.problem = problem
        super().__init__(problem)


@dataclass(frozen=True, slots=True, eq=False)
class PlannedBody:
    """``exactly``, or one alternative of a prioritized list.

    ``claim`` and ``request`` are positions. ``listed`` are the devices that mode All means;
    ``wanted`` is their number, or the count. ``constraints`` are positions in the claim's list.
    """

    claim: int
    request: int
    ref: RequestRef
    body: ExactRequest
    device_class: DeviceClass
    selectors: tuple[PlannedSelector, ...]
    wanted: int
    is_all: bool
    admin: bool
    constraints: tuple[int, ...]
    derived: DerivedAttributes = NO_DERIVED
    listed: tuple[DeviceRecord, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PlannedRequest:
    """One request: ``bodies`` in order of preference, one of them is to be satisfied."""

    bodies: tuple[PlannedBody, ...]
    is_prioritized: bool


@dataclass(frozen=True, slots=True, eq=False)
class PlannedClaim:
    """One claim with its requests in order."""

    claim: ResourceClaim
    requests: tuple[PlannedRequest, ...]


Plan = tuple[PlannedClaim, ...]


def plan_claims(
    snapshot: Snapshot, view: NodeView, claims: Sequence[ResourceClaim], eligibility: Eligibility
) -> Plan:
    """Return the plan for ``claims`` on the node of ``view``.

    Mistakes are found in upstream's order, because the first one decides the outcome.

    Raises:
        InvalidClaimError: If a claim cannot be honoured as written.
        InvalidSelectorError, SelectorRuntimeError: If mode All meets a selector that fails.
        NodeFailureError: If mode All meets a pool that is incomplete or invalid.
    """
    return tuple(
        _Planner(snapshot, view, claim, index, eligibility).plan()
        for index, claim in enumerate(claims)
    )


class _Planner:
    """Plans one claim."""

    def __init__(
        self,
        snapshot: Snapshot,
        view: NodeView,
        claim: ResourceClaim,
        index: int,
        eligibility: Eligibility,
    ) -> None:
        self.snapshot = snapshot
        self.view = view
        self.claim = claim
        self.index = index
        self.eligibility = eligibility

    def plan(self) -> PlannedClaim:
        requests = tuple(
            self._request(position, request)
            for position, request in enumerate(self.claim.spec.requests)
        )
        least = sum(min(body.wanted for body in request.bodies) for request in requests)
        if least > MAX_DEVICES_PER_CLAIM:
            raise self._error(
                "",
                f"{least} devices are requested, but the limit of one claim is "
                f"{MAX_DEVICES_PER_CLAIM}",
                "TooManyDevices",
            )
        for number, constraint in enumerate(self.claim.spec.constraints):
            self._check_constraint(
                number, constraint.match_attribute, constraint.distinct_attribute
            )
        return PlannedClaim(self.claim, requests)

    def _error(self, request: str, detail: str, reason: str) -> InvalidClaimError:
        return InvalidClaimError(str(self.claim.key), request, detail, reason=reason)

    def _check_constraint(self, number: int, match: str | None, distinct: str | None) -> None:
        if match is None and (distinct is None or not self._features.consumable_capacity):
            detail = (
                "has a type that is not known"
                if distinct is None
                else "is distinctAttribute, which needs feature DRAConsumableCapacity"
            )
            raise self._error("", f"constraint #{number} {detail}", "UnsupportedConstraint")
        name = match if match is not None else distinct
        if name is None or "/" not in name:
            raise self._error(
                "",
                f"constraint #{number}: attribute `{name}` has no domain: write it as "
                "`domain/name`",
                "UnsupportedConstraint",
            )

    @property
    def _features(self) -> Features:
        return self.snapshot.features

    def _request(self, position: int, request: DeviceRequest) -> PlannedRequest:
        is_prioritized = bool(request.first_available)
        features = self._features
        if is_prioritized and not features.prioritized_list:
            raise self._error(
                request.name,
                "firstAvailable needs feature DRAPrioritizedList, which is off",
                "FeatureDisabled",
            )
        if not features.consumable_capacity and any(
            body.capacity_requests is not None for body in request.alternatives
        ):
            raise self._error(
                request.name,
                "a capacity request needs feature DRAConsumableCapacity, which is off",
                "FeatureDisabled",
            )
        if not request.alternatives:
            raise self._error(
                request.name,
                "neither exactly nor firstAvailable is set: request types of later releases "
                "are not supported",
                "UnsupportedMode",
            )
        return PlannedRequest(
            tuple(
                self._body(position, RequestRef(request.name, body.name), body)
                for body in request.alternatives
            ),
            is_prioritized,
        )

    def _body(self, position: int, ref: RequestRef, body: ExactRequest) -> PlannedBody:
        device_class = self._class_of(ref, body)
        planned = PlannedBody(
            claim=self.index,
            request=position,
            ref=ref,
            body=body,
            device_class=device_class,
            selectors=self._selectors(ref, body, device_class),
            wanted=body.count,
            is_all=body.allocation_mode == ALL,
            admin=body.admin_access is True,
            constraints=tuple(
                number
                for number, constraint in enumerate(self.claim.spec.constraints)
                if ref.is_named_by(constraint.requests)
            ),
            derived=self._derived(ref, body),
        )
        if body.allocation_mode == EXACT_COUNT:
            return planned
        if body.allocation_mode != ALL:
            raise self._error(
                str(ref),
                f"allocation mode `{body.allocation_mode}` is not supported: use "
                f"`{EXACT_COUNT}` or `{ALL}`",
                "UnsupportedMode",
            )
        listed = self._list_all(planned)
        return replace(planned, wanted=len(listed), listed=listed)

    def _derived(self, ref: RequestRef, body: ExactRequest) -> DerivedAttributes:
        if not body.derived_attributes:
            return NO_DERIVED
        inventory = self.snapshot.inventory
        return DerivedAttributes(
            {each.name: inventory.derived(each.expression) for each in body.derived_attributes},
            claim=str(self.claim.key),
            request=str(ref),
        )

    def _class_of(self, ref: RequestRef, body: ExactRequest) -> DeviceClass:
        features = self._features
        if body.derived_attributes and not features.derived_attributes:
            raise self._error(
                str(ref),
                "derivedAttributes need feature DRADerivedAttributes, which is off",
                "FeatureDisabled",
            )
        for number, selector in enumerate(body.selectors):
            if selector.cel is None:
                raise self._error(
                    str(ref),
                    f"selector #{number} has a type that is not known: only cel is supported",
                    "UnsupportedSelector",
                )
        if body.admin_access is not None and not features.admin_access:
            raise self._error(
                str(ref),
                "adminAccess needs feature DRAAdminAccess, which is off",
                "FeatureDisabled",
            )
        name = body.device_class_name
        device_class = self.snapshot.classes.get(name)
        if not name or device_class is None:
            detail = f"DeviceClass {name} does not exist" if name else "no DeviceClass is named"
            raise self._error(str(ref), detail, "MissingDeviceClass")
        return device_class

    def _selectors(
        self, ref: RequestRef, body: ExactRequest, device_class: DeviceClass
    ) -> tuple[PlannedSelector, ...]:
        planned: list[PlannedSelector] = []
        owners = (
            (f"class {device_class.name}", device_class.selectors),
            ("request", body.selectors),
        )
        for owner, selectors in owners:
            for number, selector in enumerate(selectors):
                if selector.cel is None:
                    raise self._error(
                        str(ref),
                        f"selector #{number} of {owner} has a type that is not known: only cel "
                        "is supported",
                        "UnsupportedSelector",
                    )
                planned.append(
                    PlannedSelector(
                        owner,
                        number,
                        selector.cel,
                        self.snapshot.inventory.verdicts(selector.cel),
                        claim=str(self.claim.key),
                        request=str(ref),
                    )
                )
        return tuple(planned)

    def _refuse_bad_pool(self, planned: PlannedBody, problem: NodeProblem) -> NoReturn:
        if not self._features.as_release_1_37:
            raise NodeFailureError(problem)
        what = "being updated" if isinstance(problem, PoolIncomplete) else "invalid"
        raise self._error(
            str(planned.ref),
            f"all devices are requested, but resource pool `{problem.pool}` is currently {what}",
            "BadPool",
        )

    def _list_all(self, planned: PlannedBody) -> tuple[DeviceRecord, ...]:
        listed: list[DeviceRecord] = []
        for pool in self.view.pools:
            if pool.problem is not None:
                self._refuse_bad_pool(planned, pool.problem)
            listed.extend(
                record
                for record in pool.devices
                if self.eligibility.unselectable(planned, record) is None
            )
        return tuple(listed)
