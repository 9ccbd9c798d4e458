# SPDX-License-Identifier: Apache-2.0
"""Berth: allocates Kubernetes DRA devices from the control plane, and says why not."""

__version__ = "0.1.0"
