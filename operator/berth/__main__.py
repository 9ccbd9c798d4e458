# SPDX-License-Identifier: Apache-2.0
"""``python -m berth``: the same as ``berth``."""

from berth.cli import main

if __name__ == "__main__":
    main()
