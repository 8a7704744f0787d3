"""docs/ROUTES.md: every route of the orchestrator, printed from the route list."""

from __future__ import annotations

import inspect
from typing import Final

from orchestrator.core.admission import MAX_STANDINGS
from orchestrator.core.controls import MAX_RECORDINGS
from orchestrator.core.recording import FORMATS, LAYOUTS, MODES, QUALITIES
from orchestrator.core.request_keys import KEPT
from orchestrator.web.app import API, ROUTES
from orchestrator.web.bodies import READ_DEADLINE_S
from orchestrator.web.errors import MAX_BODY_BYTES
from orchestrator.web.record_routes import MAX_E2EE_KEY_BYTES
from orchestrator.web.request_keys import MAX_KEY
from orchestrator.web.sse import BUFFER_BYTES

PAGE: Final = "docs/ROUTES.md"

INTRODUCTION: Final = f"""# Routes

Printed from the route list by `make docs`. Bodies are JSON of at most {MAX_BODY_BYTES // 1024 // 1024} MiB
that arrive within {READ_DEADLINE_S:g} s; unknown fields are ignored, except by the routes of webhooks and
recordings (422).
Times are RFC 3339 in UTC. Every answer carries `X-Request-ID`: the one you sent, else a new one.
"""

KEYS: Final = f"""## Requests that may come again

`POST {API}/create-session`, `{API}/sessions`, `{API}/sessions/{{session_id}}/terminate`,
`{API}/record/start|stop|pause|resume` and `{API}/microservices/register` take an `Idempotency-Key`: 1 to
{MAX_KEY} visible ASCII characters, for instance a UUID, new for each thing that you want done. Send the same
request with the same key as often as you like within {KEPT.total_seconds() / 3600:g} hours, also after a
lost answer or a restart:

- One session comes of it. Each answer is made from that session as it is now, with a new token; `wait_s`
  waits again. A repeat that comes while the first is under way waits for the room.
- Another path or body (as JSON: order and spacing do not matter) under the key is a 422, and does nothing.
- A key belongs to its route; on other routes the header is not looked at.
- What was refused (4xx) and what ended in 502 binds no key: correct it, or try again, with the same one.
- After the session has ended, a repeated creation is a 409 with `details.session_id`, and has no token.
- A repeated `record/…` starts, stops, pauses and resumes nothing more: the answer is the recording as it is
  by then.
- A repeated `terminate` ends nothing more. A repeated registration is a sign of life, overwrites no later
  one, and is a 409 once the worker is unregistered.
"""

ERRORS: Final = """## Errors

One body for every error, those of the framework included:

```json
{"error": "SessionNotFound", "message": "Session not found: …", "timestamp": "2026-11-21T12:00:00.000Z",
 "code": 404, "request_id": "…", "details": {"session_id": "…"}}
```

| status | `error` | when |
|---|---|---|
| 400 | InvalidRequest | the body is no JSON, or the bytes are no HTTP |
| 401 | Unauthorized | a webhook that our LiveKit did not sign |
| 403 | Forbidden | a foreign page would change something or opens a socket; a token for one who was removed |
| 404 | SessionNotFound, RecordingNotFound, MicroserviceNotFound, WebhookNotFound, NotFound | not there |
| 405 | MethodNotAllowed | the `Allow` header lists the methods |
| 406 | NotAcceptable | the streaming create without `Accept: text/event-stream` |
| 408 | Timeout | `strict` ended the session (`details.session_id`) while the caller waited; a slow body |
| 409 | RoomNameTaken, IllegalTransition, StaleAttempt, KeyOutlived, WebhookLimit | the state forbids it |
| 413 | PayloadTooLarge | the body is over the limit |
| 415 | UnsupportedMediaType | the body is not `application/json` |
| 417 | ExpectationFailed | an `Expect` header other than `100-continue` |
| 421 | MisdirectedRequest | `Host` is no IP address, not `localhost`, not in `[server] allowed_hosts` |
| 422 | InvalidRequest | `details.fields` names every field that is missing, mistyped or out of range |
| 423 | LegalHold | the recording is under legal hold; `details` says by whom, why and since when |
| 500 | InternalError | our fault; the log has more under the `request_id` |
| 502 | LiveKitUnavailable | LiveKit did not make the room; the session (`details.session_id`) is ending |
| 503 | StoreUnavailable, ChunkStoreUnavailable, Unavailable, NotReady | try again, as `Retry-After` says |
| 507 | QuotaExceeded | all recordings together take more than `[recording] disk_quota` |

[PLAYBACK.md](PLAYBACK.md) has those of reading recordings.
"""

CALLERS: Final = """## Who may call, and who is called

Pages of others cannot drive the API through a browser. While bound to loopback, `Host` must be an IP address,
`localhost`, a name under it, or in `[server] allowed_hosts`. What changes something is refused when its
`Origin` is neither this server's nor in `[server] cors_origins`. Programs send no `Origin` and need nothing.

An address that is registered to be called is `http(s)://HOST[:PORT][/PATH]`, the host an ASCII name, an IPv4
address of four decimal numbers or an IPv6 address in brackets; no user name and no fragment. Private and
loopback addresses are called while `[network] allow_private_endpoints` allows it (unset: while bound to
loopback); link-local, multicast, reserved and cloud metadata addresses never. What counts is the address at
each connection: a name that leads elsewhere later is not called. Redirects are not followed, proxies of the
environment are not used.
"""

REMOVAL: Final = f"""## Removing somebody

`DELETE {API}/sessions/{{session_id}}/participants/{{identity}}` puts somebody out at once and keeps them
out, whether they are there or not: tokens that they have are useless, and `…/token` answers 403. With
`?bar=false` they are put out and may ask for a new token; that also lets a barred one back in. The answer
is `{{"session_id","identity","barred"}}`.

- A token for another role than before does the same to the tokens of the earlier role: whoever is connected
  with one is put out at once. Repeating `…/token` with the same role changes nothing.
- Somebody who tries an old token, also one of an ended session in a room of the same name, is put out when
  LiveKit's webhook tells of them (bound: 500 ms), without webhooks by the next list (`[reconcile]
  participants_interval` + 2 s). They never count as a client. `GET …/participants` shows them with
  `"admitted": false`, and under `barred` who is kept out.
- A worker's identity: its job is offered again, to another worker if there is one. The recorder's: 409.
- A session takes {MAX_STANDINGS} such identities, then 409.
"""


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


RECORDING: Final = f"""## Recording on demand

`POST {API}/record/start {{"session_id","mode","quality","format","layout"}}` begins a recording of a live
session. `mode` is {_words(MODES)}, `quality` {_words(QUALITIES)},
`format` {_words(FORMATS)}, `layout` {_words(LAYOUTS)} ([RECORDER.md](RECORDER.md)); what is absent is
as `[recording]` says. `/pause`, `/resume` and `/stop` take `{{"session_id"}}`. All of them, and
`GET {API}/record/status/{{session_id}}`, answer with the recording as it stands: `recording_id`,
`recording_status`, `mode`, `quality`, `format`, `layout`, `statistics` as the recorder measured them,
and `earlier_recordings`.

- `e2ee_key` is the shared key of a room whose media is end-to-end encrypted, 1 to {MAX_E2EE_KEY_BYTES} bytes.
  It is kept sealed and never returned, and a repeat under an `Idempotency-Key` is not compared by it.
- `pending` names the operation that the recorder has not shown yet; it is said until it is shown, also to a
  recorder that takes over. `recording_status` moves, and its event is sent, when it has been carried out.
- Doing again what is done, or asked for, is the same 200. What the state forbids is a 409: pausing what is
  not recorded, starting while the last recording is being stopped, or otherwise than the running one.
- A stop ends the capture; the recording is completed while the session goes on. A start after that makes
  another recording with an id of its own, {MAX_RECORDINGS} in a session at most.
- A stop before any recorder joined leaves a recording that `failed`, with that as its `detail`.
"""

KEEPING: Final = """## Keeping recordings

Deletion, legal hold, retention, quota and uploads, and what the fields say: [CATALOG.md](CATALOG.md).
"""

STREAMS: Final = f"""## Event streams

`GET {API}/sessions/{{session_id}}/events` and `GET {API}/events` answer as `text/event-stream`. Each event
has `id: GENERATION:NUMBER`, the same on both; `Last-Event-ID` (or `?last_event_id=` for a browser's first
connect) resumes after it, without gap or repeat. Without it a session's stream replays what is retained, and
the global one begins now (`?from=start`: at the oldest that is retained). [EVENTS.md](EVENTS.md) lists them.

- A resume that cannot be honoured begins with `event: gap`, `data: {{"from","to","snapshot"}}`: the snapshot
  is the session as it was at `to` (null on the global stream: load again what you show), and `id` is `to`.
- A comment with the last position comes as often as `[events] keep_alive` says.
- A session's stream ends once the session is over, its recording is sealed, and all is told. A resume after
  the last event is then answered with 204, by which a browser stops reconnecting.
- A reader that leaves more than {BUFFER_BYTES // 1024} KiB unread is cut, and resumes by its position.
- At shutdown every stream ends; reconnect.

`POST {API}/sessions` with `Accept: text/event-stream` creates a session and tells `session_created` (with
the token), `waiting` every 500 ms, then `session_ready` or `error`, and ends. Refusals come before the
stream, with their status. These frames have no `id`.
"""


def render() -> str:
    """Give the page."""
    rows = ["| route | |", "|---|---|"]
    for route in ROUTES:
        purpose = " ".join(inspect.cleandoc(route.handler.__doc__ or "").split("\n\n")[0].split())
        rows.append(f"| `{route.method} {route.path}` | {purpose} |")
    short = f"\nThe routes under `{API}/sessions` also answer under `/sessions`.\n"
    return "\n".join(
        [
            INTRODUCTION,
            "\n".join(rows) + "\n" + short,
            CALLERS,
            REMOVAL,
            RECORDING,
            KEEPING,
            STREAMS,
            KEYS,
            ERRORS,
        ]
    )
