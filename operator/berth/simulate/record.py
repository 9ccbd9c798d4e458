# SPDX-License-Identifier: Apache-2.0
"""An answer as a scenario file that gives the same answer.

Decides what the file expects, and checks before it is handed out that it holds: a bug report that
does not show the bug helps nobody.
"""

from __future__ import annotations

from berth.errors import ScenarioError
from berth.model.claims import ClaimKey
from berth.model.features import Features
from berth.scenario.anonymise import Names
from berth.scenario.documents import ScenarioText, read_documents
from berth.scenario.load import Loaded
from berth.scenario.parse import GATES, parse_scenario
from berth.scenario.save import reduced, scenario_text
from berth.simulate.answer import Answer
from berth.simulate.run import open_scenario, simulate

WHERE = "scenario"


def scenario_of(loaded: Loaded, answer: Answer, *, anonymise: bool = False) -> str:
    """Return the text of a scenario file in which ``answer`` comes out again.

    Args:
        loaded: The cluster that was asked.
        answer: What it said.
        anonymise: Give other names to objects.

    Raises:
        ScenarioError: If the scenario would give another answer.
    """
    kind, namespace, name = _asked(loaded, answer)
    cluster, wanted = reduced(loaded.objects, kind=kind, namespace=namespace, name=name)
    title = f"{kind} {namespace}/{name}"
    names = None
    if anonymise:
        names = Names((*cluster, *wanted))
        cluster = tuple(names.renamed(obj) for obj in cluster)
        wanted = tuple(names.renamed(obj) for obj in wanted)
        namespace, name = names.of("namespace", namespace), names.of(kind, name)
        title = f"{kind} {namespace}/{name}"
    features = {
        gate: bool(getattr(loaded.features, name))
        for gate, name in GATES.items()
        if getattr(loaded.features, name) != getattr(Features(), name)
    }
    verb = "is placed" if answer.fits else "is not placed"
    described = f"{title} {verb}; written by `berth explain --save-scenario`"

    def text(expect: dict[str, object]) -> str:
        return scenario_text(
            cluster, wanted, name=title, description=described, features=features, expect=expect
        )

    if answer.is_now:
        return text({})
    again = _again(text({}), kind, f"{namespace}/{name}")
    _check(answer, again, names)
    entry: dict[str, object] = {"fits": again.fits}
    if again.fits:
        entry["node"] = again.node
        entry["devices"] = {each.claim.name: list(each.devices) for each in again.held}
    return text({f"{kind}s": {f"{namespace}/{name}": entry}})


def _asked(loaded: Loaded, answer: Answer) -> tuple[str, str, str]:
    """Return who was looked at: of a claim the first pod that waits for it, as ``ask_claim``."""
    namespace, _, name = answer.name.rpartition("/")
    if answer.kind == "claim" and not answer.is_now:
        for key in loaded.cluster.pods_of_claim(ClaimKey(namespace, name)):
            pod = loaded.cluster.pods[key]
            if not pod.node_name and not pod.is_terminal:
                return "pod", key.namespace, key.name
    return answer.kind, namespace, name


def _again(text: str, kind: str, name: str) -> Answer:
    (document,) = (
        each for each in read_documents(WHERE, text.encode()) if isinstance(each, ScenarioText)
    )
    loaded, wanted = open_scenario(parse_scenario(document))
    for each in simulate(loaded.cluster, wanted):
        if (each.kind, each.name) == (kind, name):
            return each
    raise ScenarioError(WHERE, f"{kind} {name} would not be asked about: please report this")


def _check(answer: Answer, again: Answer, names: Names | None) -> None:
    devices = [each.devices for each in answer.held]
    node = answer.node
    if names is not None:
        devices = [tuple(names.device(one) for one in each) for each in devices]
        node = names.of("node", node)
    same = (answer.fits, node, devices) == (
        again.fits,
        again.node,
        [each.devices for each in again.held],
    )
    if not same:
        remedy = "write it without `--anonymise`" if names is not None else "please report this"
        raise ScenarioError(
            WHERE, f"would give another answer than {answer.kind} {answer.name} has: {remedy}"
        )
