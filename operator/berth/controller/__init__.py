# SPDX-License-Identifier: Apache-2.0
"""The operator: feeds, decisions, writes. Importing it registers Berth's handlers with Kopf.

``kopf run -m berth.controller --all-namespaces`` needs nothing more; settings come from ``BERTH_*``
variables.
"""

from berth.controller.app import register_default

register_default()
