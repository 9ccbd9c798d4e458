# SPDX-License-Identifier: Apache-2.0
"""Questions to a cluster in memory: where would this go, why not, what do selectors match.

Asks ``berth.decision``, as the operator does; writes nothing to any cluster, opens no file.
"""
