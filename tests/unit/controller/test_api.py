# SPDX-License-Identifier: Apache-2.0
"""The client: what is retried, what is in doubt, and what an answer means."""

from __future__ import annotations

import asyncio

import pytest

from berth.controller.api import (
    ApiClient,
    ApiError,
    InDoubt,
    NotServedError,
    Unreachable,
    claim_path,
    claims_path,
    require_served,
)
from berth.controller.apierrors import Cause
from berth.controller.fenced import TooLate
from berth.controller.transport import retry_delay
from berth.model.claims import ClaimKey
from tests.support.fault_server import (
    Answer,
    FaultServer,
    PlainAccess,
    failure,
    fault_server,
    hang,
    json,
    lines,
    reset,
)


async def test_a_refusal_carries_status_reason_message_and_causes(
    server: FaultServer, api: ApiClient
) -> None:
    cause = {"reason": "FieldValueInvalid", "field": "status.allocation", "message": "set once"}
    server.answer("PATCH", "/x", failure(422, "Invalid", "no", [cause], {"Retry-After": "7"}))
    with pytest.raises(ApiError) as caught:
        await api.patch("/x", {}, "merge")
    error = caught.value
    assert (error.status, error.reason, error.message, error.retry_after) == (
        422,
        "Invalid",
        "no",
        7.0,
    )
    assert error.causes == (Cause("FieldValueInvalid", "status.allocation", "set once"),)
    assert str(error) == "PATCH /x: 422 Invalid: no"


async def test_an_error_that_is_no_status_object_keeps_its_text(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("GET", "/x", json({"oops": 1}, 403))
    with pytest.raises(ApiError, match=r'^GET /x: 403: \{"oops":1\}$'):
        await api.get("/x")


async def test_writes_ask_for_strict_validation_and_name_their_patch_type(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("PATCH", "/x", json({}))
    for kind in ("merge", "strategic", "apply"):
        await api.patch("/x", {"a": 1}, kind, params={"fieldManager": "berth"})
    assert [request.headers["Content-Type"] for request in server.received] == [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ]
    assert {tuple(sorted(request.query.items())) for request in server.received} == {
        (("fieldManager", "berth"), ("fieldValidation", "Strict"))
    }


@pytest.mark.parametrize("fault", [hang, reset], ids=["no answer", "broken connection"])
async def test_a_write_without_an_answer_is_in_doubt_and_is_not_repeated(
    server: FaultServer, api: ApiClient, fault: Answer
) -> None:
    server.answer("PATCH", "/x", fault)
    with pytest.raises(InDoubt, match="PATCH /x: no answer from the API server"):
        await api.patch("/x", {}, "merge")
    assert server.count("PATCH") == 1


async def test_a_write_to_a_closed_port_is_known_to_have_had_no_effect() -> None:
    async with fault_server() as server:
        url = server.url
    async with ApiClient(PlainAccess(url)) as api:
        with pytest.raises(Unreachable) as caught:
            await api.patch("/x", {}, "merge")
    assert not isinstance(caught.value, InDoubt)


async def test_a_read_without_an_answer_is_not_in_doubt(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("GET", "/x", hang)
    with pytest.raises(Unreachable) as caught:
        await api.get("/x")
    assert not isinstance(caught.value, InDoubt)


async def test_a_read_is_repeated_while_the_server_is_in_trouble(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("GET", "/x", failure(429), failure(503), json({"a": 1}))
    assert await api.get("/x") == {"a": 1}
    assert server.count("GET") == 3


async def test_a_read_is_not_repeated_after_a_refusal(server: FaultServer, api: ApiClient) -> None:
    server.answer("GET", "/x", failure(403, "Forbidden", "no"), json({}))
    with pytest.raises(ApiError, match="403 Forbidden: no"):
        await api.get("/x")
    assert server.count("GET") == 1


async def test_a_write_is_not_repeated_after_429(server: FaultServer, api: ApiClient) -> None:
    server.answer("POST", "/x", failure(429, "TooManyRequests", "slow", None, {"Retry-After": "1"}))
    with pytest.raises(ApiError) as caught:
        await api.create("/x", {})
    assert (caught.value.retry_after, server.count("POST")) == (1.0, 1)


async def test_after_401_a_request_is_sent_once_more_with_new_credentials(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("PATCH", "/x", failure(401), json({"a": 1}))
    assert await api.patch("/x", {}, "merge") == {"a": 1}
    assert [request.headers["Authorization"] for request in server.received] == [
        "Bearer token-1",
        "Bearer token-2",
    ]


async def test_an_answer_that_is_not_json_is_an_error_of_the_server(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("PATCH", "/x", lines(b"<html>"))
    with pytest.raises(ApiError) as caught:
        await api.patch("/x", {}, "merge")
    assert (caught.value.status, caught.value.reason) == (502, "NotJSON")


async def test_a_list_is_read_in_pages_and_begun_anew_when_the_token_expires(
    server: FaultServer, api: ApiClient
) -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "t"}, "items": [{"n": 1}]}
    last = {"metadata": {"resourceVersion": "5"}, "items": [{"n": 2}]}
    server.answer("GET", "/x", json(first), failure(410), json(first), json(last))
    listed = await api.list("/x", {"labelSelector": "a=b"})
    assert listed == {"items": [{"n": 1}, {"n": 2}], "metadata": {"resourceVersion": "5"}}
    assert [request.query.get("continue") for request in server.received] == [None, "t", None, "t"]
    assert {request.query["labelSelector"] for request in server.received} == {"a=b"}
    assert all("resourceVersion" not in request.query for request in server.received)


async def test_long_lines_of_a_watch_arrive_whole(server: FaultServer, api: ApiClient) -> None:
    long = b'{"a":"' + b"x" * 400_000 + b'"}'
    server.answer("GET", "/x", lines(long[:1000], long[1000:] + b"\n{}\n{", b"}\n"))
    assert [line async for line in api.watch("/x")] == [long, b"{}", b"{}"]


async def test_half_a_line_at_the_end_of_a_watch_is_no_event(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("GET", "/x", lines(b'{}\n{"type":'))
    assert [line async for line in api.watch("/x")] == [b"{}"]


async def test_a_silent_watch_ends_with_an_error(server: FaultServer, api: ApiClient) -> None:
    server.answer("GET", "/x", lines(b"{}\n", then=hang))
    watch = api.watch("/x")
    assert await anext(watch) == b"{}"
    with pytest.raises(Unreachable):
        await anext(watch)


async def test_deleting_what_is_gone_is_no_error(server: FaultServer, api: ApiClient) -> None:
    server.answer("DELETE", "/x", failure(404))
    assert await api.delete("/x", uid="u") is None
    assert server.bodies("DELETE") == [
        {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "u"}}
    ]


async def test_a_cluster_without_the_api_is_told_what_is_needed(
    server: FaultServer, api: ApiClient
) -> None:
    with pytest.raises(NotServedError) as caught:
        await require_served(api, "resource.k8s.io/v1", "resourceclaims")
    assert str(caught.value) == (
        "this cluster does not serve resource.k8s.io/v1: Kubernetes 1.34 or newer is needed, "
        "or one that serves v1beta2 or v1beta1"
    )
    served = {"resources": [{"name": "resourceclaims"}]}
    server.answer("GET", "/apis/resource.k8s.io/v1", json(served))
    await require_served(api, "resource.k8s.io/v1", "resourceclaims")
    assert not await api.served("resource.k8s.io/v1", "devicetaintrules")


def test_a_delay_honours_the_server_up_to_a_limit() -> None:
    assert 7 <= retry_delay(0, 7.0) <= 7.25
    assert 30 <= retry_delay(0, 9999.0) <= 30.25
    assert all(0 <= retry_delay(attempt) <= 10 for attempt in range(100))


def test_names_cannot_leave_their_path() -> None:
    assert claims_path("") == "/apis/resource.k8s.io/v1/resourceclaims"
    assert claim_path(ClaimKey("ml", "a b?c")) == (
        "/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims/a%20b%3Fc"
    )


async def test_a_fenced_write_is_settled_by_its_answer_and_by_time(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("PATCH", "/x", json({"a": 1}), failure(409), hang)
    assert api.settled(0.4)
    await api.patch("/x", {}, "merge", may_send=lambda: True)
    with pytest.raises(ApiError):
        await api.patch("/x", {}, "merge", may_send=lambda: True)
    with pytest.raises(TooLate):
        await api.patch("/x", {}, "merge", may_send=lambda: False)
    assert api.settled(0.4)
    sending = asyncio.ensure_future(api.patch("/x", {}, "merge", may_send=lambda: True))
    await asyncio.sleep(0.1)
    assert not api.settled(0)
    with pytest.raises(InDoubt):
        await sending
    assert not api.settled(0.4)
    await asyncio.sleep(0.45)
    assert api.settled(0.4)
