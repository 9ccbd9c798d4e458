# SPDX-License-Identifier: Apache-2.0
"""Times of the API as numbers, and texts that cannot do anything to a terminal."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.audit.words import age, is_long_ago, printable, seconds_of

MOMENTS = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2199, 12, 31))  # noqa: DTZ001 - all are UTC


@given(MOMENTS)
def test_a_time_is_the_number_of_seconds_that_the_library_has(moment: dt.datetime) -> None:
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    assert seconds_of(text) == int(moment.replace(tzinfo=dt.UTC, microsecond=0).timestamp())


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-24 10:00:00Z"])
def test_what_is_no_time_is_not_known(text: str) -> None:
    assert seconds_of(text) is None
    assert is_long_ago(text, 0, 60)
    assert age(text, 0) == ""


def test_fractions_of_seconds_do_not_count() -> None:
    assert seconds_of("1970-01-01T00:00:01.999999Z") == 1


@pytest.mark.parametrize(
    ("seconds", "want"),
    [
        (0, ""),
        (1, " for 1 second"),
        (59, " for 59 seconds"),
        (60, " for 1 minute"),
        (7199, " for 1 hour"),
        (86_400 * 3, " for 3 days"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, want: str) -> None:
    assert age("1970-01-01T00:00:00Z", seconds) == want


def test_long_ago_begins_at_the_limit() -> None:
    assert not is_long_ago("1970-01-01T00:00:00Z", 59, 60)
    assert is_long_ago("1970-01-01T00:00:00Z", 60, 60)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("ml/träin 1", "ml/träin 1"),
        ("a\x1b]0;x\x07b", r"a\x1b]0;x\x07b"),
        ("a\r\nb", r"a\r\nb"),
        ("a\u202eb\u2066", r"a\u202eb\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_text_is_made_printable(text: str, want: str) -> None:
    assert printable(text) == want
    assert printable(text).isprintable()
