# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from berth.controller.settings import Settings, SettingsError


def test_the_environment_sets_fields_and_an_override_wins() -> None:
    settings = Settings.from_environment(
        {"BERTH_MODE": "observe", "BERTH_HTTP_PORT": "9000", "PATH": "/bin"},
        http_port=0,
        context=None,
    )
    assert (settings.mode, settings.http_port, settings.context) == ("observe", 0, None)


def test_every_mistake_is_named_with_its_variable() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"BERTH_MODE": "gate", "BERTH_HTTP_PORT": "70000"})
    assert str(caught.value) == (
        "setting `mode` (BERTH_MODE): Input should be 'observe', 'gated' or 'fenced', not `gate`\n"
        "setting `http_port` (BERTH_HTTP_PORT): Input should be less than or equal to 65535, "
        "not `70000`"
    )


def test_a_deadline_beyond_the_lease_is_refused() -> None:
    with pytest.raises(SettingsError, match="two replicas could write at once"):
        Settings.from_environment({"BERTH_DEADLINE_SECONDS": "20"})
