"""Guard before the app: only this machine, only who has the token, only pages of the app itself."""

import hmac
import secrets
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"
"""Parameter of the address that a browser shows once, to get a cookie."""
_OWN = "'self' 'unsafe-inline'"
_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Vue compiles its templates in the browser, and writes styles into elements.
        f"script-src {_OWN} 'unsafe-eval'",
        f"style-src {_OWN}",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)
"""Headers of every answer: a browser loads nothing from elsewhere, whatever a page contains, and keeps nothing."""


class Guard:
    """Guard before an ASGI application that listens on this machine only.

    A page of somebody else's in the same browser can reach this machine. It is refused by its `Origin`; by the `Host`,
    if it calls this machine by a name of its own (DNS rebinding); and for want of the token, which it cannot read.

    Args:
        app: what is guarded.
        port: that it listens on.
        token: that the first address carries; drawn at random by default.
    """

    def __init__(self, app: ASGIApp, port: int, token: str | None = None) -> None:
        self.app = app
        self.token = secrets.token_urlsafe(24) if token is None else token
        # Cookies heed no port: two apps of one machine would take each other's away.
        self._cookie = f"tombola-{port}"
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send) if scope["type"] == "http" else send)
        elif scope["type"] == "http":
            await refusal(scope, receive, _with_headers(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope) -> Response | None:
        """Answer instead of the application's; None where that may answer."""
        headers = Headers(scope=scope)
        if headers.get("host") not in self._hosts:
            return PlainTextResponse("Tombola answers to 127.0.0.1 and localhost alone.", 403)
        if headers.get("origin", f"http://{headers['host']}") not in {f"http://{host}" for host in self._hosts}:
            return PlainTextResponse("Tombola answers to its own pages alone.", 403)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["type"] == "http" and scope["method"] == "GET" and self._fits(dict(query).get(TOKEN, "")):
            # Out of the address, where a person may copy it and a history keeps it.
            rest = urlencode([(name, value) for name, value in query if name != TOKEN])
            answer = RedirectResponse(f"/{scope['path'].lstrip('/')}{'?' if rest else ''}{rest}", 303)
            answer.set_cookie(self._cookie, self.token, httponly=True, samesite="strict")
            return answer
        if self._fits(HTTPConnection(scope).cookies.get(self._cookie, "")):
            return None
        return PlainTextResponse("Open the address that `tombola app` printed: it ends with a token.", 401)

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _with_headers(send: Send, headers: Iterable[tuple[str, str]] = HEADERS) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: MutableMapping[str, Any] = message
            names = {name.lower() for name, _ in given["headers"]}
            added = [(name.lower().encode(), value.encode()) for name, value in headers]
            given["headers"] = [*given["headers"], *(one for one in added if one[0] not in names)]
        await send(message)

    return with_headers
