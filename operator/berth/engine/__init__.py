# SPDX-License-Identifier: Apache-2.0
"""Pure allocation: a snapshot, a node and claims go in, one of three outcomes comes out.

Does no I/O, reads no clock, draws no random number, logs nothing, and knows no Kubernetes client.
"""
