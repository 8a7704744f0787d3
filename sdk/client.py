"""The client of application backends: create sessions, follow their events, end them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import msgspec

from sdk.answers import error_of
from sdk.backoff import Backoff
from sdk.errors import UnavailableError, UnexpectedAnswerError
from sdk.recording_calls import RecordingCalls
from sdk.settings import check_url
from sdk.sse import OversizedEventError, SseParser
from sdk.wire import CreateSession, Policy, ServiceOptions, SessionCreated, TokenGranted, TokenRequest

CONNECT_S: Final = 5.0
SILENCE_S: Final = 45.0  # of an event stream; the orchestrator sends something every 15 s
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
TERMINATED: Final = "session_terminated"
T = TypeVar("T")
_Method = Literal["GET", "POST", "DELETE"]


class SessionOptions(TypedDict, total=False):
    """What `create_session` may say beside the user; the fields are those of the wire's `CreateSession`."""

    user_name: str
    room_name: str
    metadata: dict[str, str]
    required_services: list[str]
    wait_s: float
    policy: Policy
    services: dict[str, ServiceOptions]
    record: bool
    expires_in: float
    max_duration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """One event. ``id`` is its position: what `events(last_event_id=…)` resumes after; "" has none."""

    id: str
    event: str
    data: dict[str, Any]


class Client(RecordingCalls):
    """Speaks to one orchestrator over one HTTP session; an async context manager.

    A call is tried again for ``retry_s`` when the connection fails or the orchestrator is not available. What
    creates or ends something carries an `Idempotency-Key` of its own, so that its repeats do it once.
    """

    def __init__(self, orchestrator_url: str, *, request_timeout: float = 30.0, retry_s: float = 5.0) -> None:
        """Make a client.

        Args:
            orchestrator_url: `http(s)://HOST[:PORT]`.
            request_timeout: seconds for one call; `wait_s` of `create_session` comes on top.
            retry_s: seconds for which a failed call is tried again; 0 for not at all.

        Raises:
            ValueError: the URL or a number cannot be used.
        """
        self._url = check_url("orchestrator_url", orchestrator_url)
        if request_timeout <= 0 or retry_s < 0:
            raise ValueError("request_timeout must be more than 0 and retry_s not negative")
        self._request_timeout = request_timeout
        self._retry_s = retry_s
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_connect=CONNECT_S)
        self._http = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the HTTP session; call it when nothing is under way any more."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def create_session(self, user_identity: str, **options: Unpack[SessionOptions]) -> SessionCreated:
        """Create a session and its room.

        Args:
            user_identity: whom the token is for.
            **options: see `SessionOptions`; with ``wait_s`` the answer waits for the services.

        Returns:
            The session with a token that joins its room; ``missing_services`` names who is not there yet.

        Raises:
            InvalidRequestError: a value is not allowed; the message names it.
            ConflictError: the room name is in use.
            ServicesMissingError: policy `strict`, and services did not come while the call waited.
            UnavailableError: the orchestrator does not answer, for all the tries, or (``status`` 502) its
                media server does not. The session may exist when connections were lost on the way; it ends
                by its client timeout.
        """
        body = CreateSession(user_identity=user_identity, **options)
        wait_s = options.get("wait_s") or 0.0
        return await self._call(
            "POST",
            "/api/v1/create-session",
            SessionCreated,
            body=_without_nulls(body),
            timeout_s=self._request_timeout + wait_s,
            is_keyed=True,
        )

    async def session(self, session_id: str) -> dict[str, Any]:
        """Give a session as it stands: `room_status`, `missing_services`, `recording_status` and more.

        Raises:
            NotFoundError: there is no such session.
        """
        return await self._call("GET", _path(session_id), dict[str, Any])

    async def participants(self, session_id: str) -> list[dict[str, Any]]:
        """Give who is in the room now: `identity`, `role`, and the service of workers.

        Raises:
            NotFoundError: there is no such session.
        """
        answer = await self._call("GET", _path(session_id, "/participants"), dict[str, Any])
        present = answer.get("participants")
        if not isinstance(present, list):
            raise UnexpectedAnswerError("the answer has no list of participants")
        return present

    async def token(
        self,
        session_id: str,
        user_identity: str,
        *,
        user_name: str | None = None,
        role: Literal["client", "operator"] = "client",
    ) -> TokenGranted:
        """Mint a token for one more participant, or a new one for the same.

        Another ``role`` than before puts out whoever is connected in the earlier one.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: the session is ending or over.
            ForbiddenError: this user was removed and is kept out.
        """
        body = TokenRequest(user_identity=user_identity, user_name=user_name, role=role)
        return await self._call("POST", _path(session_id, "/token"), TokenGranted, body=_without_nulls(body))

    async def remove_participant(self, session_id: str, identity: str, *, bar: bool = True) -> None:
        """Put somebody out of the room and make all their tokens useless; again is no error.

        A worker's job is offered again, to another worker if there is one.

        Args:
            session_id: whose room.
            identity: the participant's; they need not be there.
            bar: they get no new token either; False lets them ask, also who was barred before.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: the session is ending or over, or this is the recorder.
        """
        path = _path(session_id, f"/participants/{quote(identity, safe='')}")
        await self._call("DELETE", f"{path}?bar={'true' if bar else 'false'}", Any)

    async def terminate(self, session_id: str) -> None:
        """End a session; ending it again is no error.

        Raises:
            NotFoundError: there is no such session.
        """
        await self._call("POST", _path(session_id, "/terminate"), Any, body=b"{}", is_keyed=True)

    async def events(
        self,
        session_id: str | None = None,
        *,
        last_event_id: str = "",
        from_start: bool = False,
        until_told: bool = False,
    ) -> AsyncIterator[ServerEvent]:
        """Follow events, over lost connections and restarts, without a gap and without a repeat.

        Events that are lost to this reader are told by an event named `gap` with `from`, `to` and, for one
        session, a `snapshot`. It tries for ever while the orchestrator is away; cancel it to stop.

        Args:
            session_id: one session, from its first event; None for all sessions, from now on.
            last_event_id: begin after this event's ``id`` instead.
            from_start: all sessions, from the oldest event that is kept.
            until_told: one session ends with its `session_terminated`. With this it goes on until the
                orchestrator has nothing more to tell: a recording is completed after that.

        Raises:
            NotFoundError: there is no such session.
            ValueError: ``from_start`` with a session; its stream always begins at the start.
        """
        if session_id is not None and from_start:
            raise ValueError(
                "from_start is for all sessions: one session's stream begins at its start anyway"
            )
        path = "/api/v1/events" if session_id is None else _path(session_id, "/events")
        parser = SseParser(last_event_id)
        backoff = Backoff()
        while True:
            try:
                async with self._stream(path, parser.position, from_start=from_start) as answer:
                    if answer.status == 204:
                        return  # the session is over and all was told
                    parser = SseParser(parser.position)
                    async for chunk in answer.content.iter_any():
                        for raw in parser.feed(chunk):
                            backoff.reset()
                            yield ServerEvent(id=raw.position, event=raw.name, data=_object(raw.data))
                            if session_id is not None and raw.name == TERMINATED and not until_told:
                                return
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            except UnavailableError as error:
                await asyncio.sleep(error.retry_after_s or 0.0)
            except OversizedEventError as error:
                raise UnexpectedAnswerError(str(error)) from None
            await asyncio.sleep(backoff.next_s())

    @asynccontextmanager
    async def _stream(
        self, path: str, position: str, *, from_start: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an event stream."""
        headers = {"Accept": "text/event-stream"}
        if position:
            headers["Last-Event-ID"] = position
        query = {"from": "start"} if from_start and not position else {}
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CONNECT_S, sock_connect=CONNECT_S, sock_read=SILENCE_S
        )
        async with self._session().get(
            self._url + path, headers=headers, params=query, timeout=timeout, allow_redirects=False
        ) as answer:
            if answer.status not in (200, 204):
                raise error_of(answer.status, await _read(answer), answer.headers)
            yield answer

    async def _call(
        self,
        method: _Method,
        path: str,
        shape: type[T],
        *,
        body: bytes | None = None,
        timeout_s: float | None = None,
        is_keyed: bool = False,
    ) -> T:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if is_keyed:
            headers["Idempotency-Key"] = str(uuid4())  # one for all tries of this call
        until = time.monotonic() + self._retry_s
        backoff = Backoff()
        while True:
            try:
                return await self._call_once(
                    method,
                    path,
                    shape,
                    body=body,
                    headers=headers,
                    timeout_s=timeout_s or self._request_timeout,
                )
            except aiohttp.ClientConnectorError:
                error = UnavailableError(f"{self._url} cannot be reached")
            except (aiohttp.ClientError, OSError, TimeoutError) as cause:
                words = "did not answer in time" if isinstance(cause, TimeoutError) else "broke off"
                error = UnavailableError(f"{self._url} {words}")
            except UnavailableError as told:
                if is_keyed and told.status == 502:
                    raise  # an answer: what was begun is over, and holds its room name until it is gone
                error = told
            delay_s = max(backoff.next_s(), error.retry_after_s or 0.0)
            if time.monotonic() + delay_s > until:
                raise error from None
            await asyncio.sleep(delay_s)

    async def _call_once(
        self,
        method: _Method,
        path: str,
        shape: type[T],
        *,
        body: bytes | None,
        headers: dict[str, str],
        timeout_s: float,
    ) -> T:
        async with (
            asyncio.timeout(timeout_s),
            self._session().request(
                method, self._url + path, data=body, headers=headers, allow_redirects=False
            ) as answer,
        ):
            text = await _read(answer)
            if not 200 <= answer.status < 300:
                raise error_of(answer.status, text, answer.headers)
        try:
            return msgspec.json.decode(text, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnexpectedAnswerError(f"{method} {path}: {error}") from None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the client is not open; use it with `async with Client(…) as client:`")
        return self._http


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    text = bytearray()
    async for chunk in answer.content.iter_any():
        text += chunk
        if len(text) > MAX_ANSWER_BYTES:
            raise UnexpectedAnswerError(f"an answer larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(text)


def _path(session_id: str, rest: str = "") -> str:
    if not session_id:
        raise ValueError("session_id must not be empty")
    return f"/api/v1/sessions/{quote(session_id, safe='')}{rest}"


def _without_nulls(body: msgspec.Struct) -> bytes:
    fields: dict[str, Any] = msgspec.to_builtins(body)
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def _object(data: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError:
        value = None
    return value if isinstance(value, dict) else {"text": data}
