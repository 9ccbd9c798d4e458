# SPDX-License-Identifier: Apache-2.0
"""How tests reach an API server, and where it serves the kinds that tests use."""

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the API server serves one kind."""

    plural: str
    kind: str
    api: str = "v1"
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{middle}/{self.plural}{tail}"


_DRA = "resource.k8s.io/v1"
_RBAC = "rbac.authorization.k8s.io/v1"
_ADMISSION = "admissionregistration.k8s.io/v1"
RESOURCES: dict[str, Resource] = {
    each.plural: each
    for each in (
        Resource("pods", "Pod"),
        Resource("services", "Service"),
        Resource("configmaps", "ConfigMap"),
        Resource("secrets", "Secret"),
        Resource("serviceaccounts", "ServiceAccount"),
        Resource("nodes", "Node", namespaced=False),
        Resource("namespaces", "Namespace", namespaced=False),
        Resource("events", "Event", "events.k8s.io/v1"),
        Resource("leases", "Lease", "coordination.k8s.io/v1"),
        Resource("deployments", "Deployment", "apps/v1"),
        Resource("daemonsets", "DaemonSet", "apps/v1"),
        Resource("jobs", "Job", "batch/v1"),
        Resource("poddisruptionbudgets", "PodDisruptionBudget", "policy/v1"),
        Resource("resourceclaims", "ResourceClaim", _DRA),
        Resource("resourceclaimtemplates", "ResourceClaimTemplate", _DRA),
        Resource("deviceclasses", "DeviceClass", _DRA, namespaced=False),
        Resource("resourceslices", "ResourceSlice", _DRA, namespaced=False),
        Resource("devicetaintrules", "DeviceTaintRule", _DRA, namespaced=False),
        Resource("roles", "Role", _RBAC),
        Resource("rolebindings", "RoleBinding", _RBAC),
        Resource("clusterroles", "ClusterRole", _RBAC, namespaced=False),
        Resource("clusterrolebindings", "ClusterRoleBinding", _RBAC, namespaced=False),
        Resource(
            "mutatingadmissionpolicies", "MutatingAdmissionPolicy", _ADMISSION, namespaced=False
        ),
        Resource(
            "mutatingadmissionpolicybindings",
            "MutatingAdmissionPolicyBinding",
            _ADMISSION,
            namespaced=False,
        ),
        Resource(
            "validatingadmissionpolicies", "ValidatingAdmissionPolicy", _ADMISSION, namespaced=False
        ),
        Resource(
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
            _ADMISSION,
            namespaced=False,
        ),
        Resource(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            "apiextensions.k8s.io/v1",
            namespaced=False,
        ),
        Resource("allocationpolicies", "AllocationPolicy", "berth.dev/v1alpha1", namespaced=False),
    )
}
_BY_KIND = {each.kind: each for each in RESOURCES.values()}


def resource_named(resource: str | Resource) -> Resource:
    return resource if isinstance(resource, Resource) else RESOURCES[resource]


def place_of(manifest: Json, namespace: str | None) -> tuple[Resource, str | None]:
    kind = _BY_KIND[manifest["kind"]]
    if kind.api != manifest["apiVersion"]:
        plural = kind.plural
        kind = Resource(plural, manifest["kind"], manifest["apiVersion"], kind.namespaced)
    return kind, manifest["metadata"].get("namespace") or namespace


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server: from a kubeconfig's current context."""

    server: str
    ca_pem: str = ""
    token: str = ""
    client_cert_pem: str = ""
    client_key_pem: str = ""
    insecure: bool = False

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        config = yaml.safe_load(path.read_text())
        named = {
            part: {each["name"]: each[part.rstrip("s")] for each in config.get(part) or ()}
            for part in ("contexts", "clusters", "users")
        }
        context = named["contexts"][config["current-context"]]
        cluster = named["clusters"][context["cluster"]]
        user = named["users"][context["user"]] or {}
        if "exec" in user or "auth-provider" in user:
            raise ValueError(f"{path}: tests need a token or a client certificate, not a plug-in")
        return cls(
            server=cluster["server"].rstrip("/"),
            ca_pem=_text(path, cluster, "certificate-authority"),
            token=str(user.get("token") or "") or _text(path, user, "token", "tokenFile"),
            client_cert_pem=_text(path, user, "client-certificate"),
            client_key_pem=_text(path, user, "client-key"),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )

    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert_pem:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(self.client_cert_pem + "\n" + self.client_key_pem)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def _text(base: Path, entry: Mapping[str, Any], key: str, file_key: str = "") -> str:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(str(data)).decode()
    if file := entry.get(file_key or key):
        return (base.parent / str(file)).read_text()
    return ""


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
