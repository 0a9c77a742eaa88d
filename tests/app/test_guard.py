"""Only this machine's own pages get through, and who has the token."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tombola.app.guard import Guard

PORT, TOKEN = 4321, "secret-token"


async def application(scope: Any, receive: Any, send: Any) -> None:
    kind = "websocket.accept" if scope["type"] == "websocket" else "http.response.start"
    await send({"type": kind, "status": 200, "headers": []})


def ask(headers: Mapping[str, str], query: str = "", kind: str = "http", path: str = "/") -> dict[str, Any]:
    """The first message that an answer begins with; `cookie` false for a visitor who was never here."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    given = {"host": f"127.0.0.1:{PORT}", "cookie": f"a=b; tombola-{PORT}={TOKEN}", **headers}
    scope = {
        "type": kind,
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
    }
    asyncio.run(Guard(application, PORT, TOKEN)(scope, receive, send))
    return sent[0]


def header(answer: Mapping[str, Any], name: str) -> str:
    return next((value.decode() for key, value in answer["headers"] if key.decode() == name), "")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": f"localhost:{PORT}", "origin": f"http://localhost:{PORT}"}, 200),
        ({"host": f"evil.example:{PORT}"}, 403),
        ({"host": "127.0.0.1:80"}, 403),
        ({"host": ""}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:80"}, 403),
        ({"origin": "null"}, 403),
        ({"cookie": ""}, 401),
        ({"cookie": f"tombola-{PORT}=secret-tokex"}, 401),
        ({"cookie": f"tombola-{PORT + 1}={TOKEN}"}, 401),
        ({"cookie": f'tombola-{PORT}="\xe9'.encode().decode("latin-1")}, 401),
    ],
)
def test_only_who_may_gets_through(headers: Mapping[str, str], status: int, kind: str) -> None:
    answer = ask(headers, kind=kind)
    if kind == "websocket":
        assert (answer["type"] == "websocket.accept") == (status == 200)
    else:
        assert answer["status"] == status
        assert "connect-src 'self'" in header(answer, "content-security-policy")


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    answer = ask({"cookie": ""}, f"study=a%2Fb&token={TOKEN}")
    assert (answer["status"], header(answer, "location")) == (303, "/?study=a%2Fb")
    cookie = header(answer, "set-cookie")
    assert f"tombola-{PORT}={TOKEN}" in cookie
    assert "httponly" in cookie.lower()
    assert "samesite=strict" in cookie.lower()
    assert ask({"cookie": ""}, "token=secret-tokex")["status"] == 401
    # No way to another server.
    assert header(ask({}, f"token={TOKEN}", path="//evil.example"), "location") == "/evil.example"
