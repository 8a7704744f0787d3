"""What callers ask of the recording of a session; each of it a step of the session like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Manner, Operation
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.session import Session
from orchestrator.core.triggers import RecordingControlAsked, RecordingStartAsked
from orchestrator.ports import Clock
from orchestrator.service.repeats import Repeats


class RecordingControl:
    """Starts, pauses, resumes and stops recordings."""

    def __init__(
        self,
        *,
        repeats: Repeats,
        clock: Clock,
        default: Manner,
        seal: Callable[[str, RecordingId], Awaitable[str]],
        refusal: Callable[[], str] = str,
    ) -> None:
        """Make one.

        Args:
            repeats: carries out what may come again.
            clock: gives ids.
            default: how a recording is taken for which nobody says it.
            seal: encrypts a short secret of a recording; raises CustodyError.
            refusal: says why no recording may begin now, "" when one may.
        """
        self._repeats = repeats
        self._clock = clock
        self._default = default
        self._refusal = refusal
        self._seal = seal

    async def start(
        self, session_id: SessionId, manner: Manner, key: RequestKey | None, *, e2ee_key: str = ""
    ) -> Session:
        """Begin a recording; while one runs, nothing happens.

        Args:
            session_id: whose.
            manner: what it does not say is as the settings say, or as with the one that runs.
            key: a repeat begins no other recording, also when the first has ended since.
            e2ee_key: of the room's end-to-end encryption; kept sealed. "": it has none.

        Raises:
            CustodyError: the e2ee_key cannot be sealed, because there are no keys.
            IllegalTransitionError: the session is over, or its recording is being stopped or taken otherwise.
            QuotaExceededError: recordings take what they may take.
            KeyReusedError, SessionNotFoundError, StoreError: as `Repeats.apply`.
        """
        recording_id = RecordingId(self._clock.new_id())
        asked = RecordingStartAsked(
            recording_id=recording_id,
            e2ee=await self._seal(e2ee_key, recording_id) if e2ee_key else "",
            manner=manner,
            default=self._default,
            refusal=self._refusal(),
        )
        return await self._repeats.apply(session_id, asked, key)

    async def control(self, session_id: SessionId, op: Operation, key: RequestKey | None) -> Session:
        """Pause, resume or stop; doing so again changes nothing.

        Raises:
            IllegalTransitionError: there is no recording, or it is in no state for this.
            KeyReusedError, SessionNotFoundError, StoreError: as `Repeats.apply`.
        """
        return await self._repeats.apply(session_id, RecordingControlAsked(op=op), key)
