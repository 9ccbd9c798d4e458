# SPDX-License-Identifier: Apache-2.0
"""Which kinds Kopf feeds into the ledger, and what each event does there.

Only wiring: decode, apply or remove, and say that something changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from berth.codec.claims import decode_template
from berth.codec.policies import decode_allocation_policy
from berth.codec.slices import decode_class, decode_slice, decode_taint_rule
from berth.codec.versions import GROUP
from berth.controller.feeds import KopfFedKind, RawObject
from berth.controller.policies import PolicyStatusWriter
from berth.controller.served import Served
from berth.errors import DecodeError
from berth.state.cluster import Cluster

BERTH_API = ("berth.dev", "v1alpha1")
OURS = frozenset({"allocationpolicies"})


def kopf_fed_kinds(
    cluster: Cluster,
    policies: PolicyStatusWriter,
    *,
    changed: Callable[[], None],
    template_changed: Callable[[str, str], None],
    served: Served,
) -> tuple[KopfFedKind, ...]:
    """Return the kinds that Kopf's handlers feed, each with its way into ``cluster``.

    Those that the cluster does not serve are left out.

    ``changed`` is called after every event that reached the ledger, ``template_changed`` with
    namespace and name of a template before that.
    """

    def applied(apply: Callable[[RawObject], None]) -> Callable[[RawObject], None]:
        def act(raw: RawObject) -> None:
            apply(raw)
            changed()

        return act

    def removed(remove: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def act(namespace: str, name: str) -> None:
            remove(namespace, name)
            changed()

        return act

    def apply_template(raw: RawObject) -> None:
        template = decode_template(raw)
        cluster.apply_template(template)
        template_changed(template.namespace, template.name)

    def apply_policy(raw: Mapping[str, Any]) -> None:
        cluster.apply_policy(decode_allocation_policy(raw))
        policies.accepted(raw)

    def nothing_more(raw: RawObject, error: DecodeError) -> None:
        """The log line of the feed is all that can be said about objects of others."""

    def kind(
        plural: str,
        apply: Callable[[RawObject], None],
        remove: Callable[[str, str], None],
        undecodable: Callable[[RawObject, DecodeError], None] = nothing_more,
    ) -> KopfFedKind:
        group, version = BERTH_API if plural in OURS else (GROUP, served.version_of(plural) or "")
        return KopfFedKind(group, version, plural, applied(apply), removed(remove), undecodable)

    kinds = (
        kind(
            "deviceclasses",
            lambda raw: cluster.apply_class(decode_class(raw)),
            lambda _, name: cluster.remove_class(name),
        ),
        kind(
            "resourceclaimtemplates",
            apply_template,
            cluster.remove_template,
        ),
        kind(
            "resourceslices",
            lambda raw: cluster.apply_slice(decode_slice(raw)),
            lambda _, name: cluster.remove_slice(name),
        ),
        kind(
            "devicetaintrules",
            lambda raw: cluster.apply_taint_rule(decode_taint_rule(raw)),
            lambda _, name: cluster.remove_taint_rule(name),
        ),
        kind(
            "allocationpolicies",
            apply_policy,
            lambda _, name: cluster.remove_policy(name),
            policies.refused,
        ),
    )
    return tuple(each for each in kinds if each.version)
