# SPDX-License-Identifier: Apache-2.0
"""How fast Berth is, against what a user would run instead, measured in the same run."""
