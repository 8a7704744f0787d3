"""Takes LiveKit's webhooks as hints: they make it fast, the reconciler makes it right.

The result is committed before the answer, so an answered webhook is never lost; what it says is keyed by
SIDs, so a repeated or late one changes nothing.
"""

from __future__ import annotations

from typing import Final

import structlog

from orchestrator.core.errors import IllegalTransitionError, RoomServerError, SessionNotFoundError
from orchestrator.core.ids import ParticipantSid
from orchestrator.core.session import Session
from orchestrator.core.triggers import ParticipantsSeen, RoomFinished, Trigger
from orchestrator.ports import Notice
from orchestrator.service.deadlines import Looker
from orchestrator.service.sessions import Sessions

log = structlog.get_logger(__name__)

_JOINED: Final = "participant_joined"
_LEFT: Final = ("participant_left", "participant_connection_aborted")
_LATE_S: Final = 10.0  # what is older says nothing of now
_LEFT_KEPT: Final = 4096  # SIDs; one that is forgotten and joins late is gone again after the next list


class Webhooks:
    """Applies notices to sessions."""

    def __init__(self, sessions: Sessions, looker: Looker) -> None:
        self._sessions = sessions
        self._looker = looker
        self._left: dict[ParticipantSid, None] = {}  # the oldest first

    async def accept(self, notice: Notice) -> None:
        """Commit what a notice says; one that says nothing about a session of ours is accepted too.

        Raises:
            StoreError: it was not persisted; answer 5xx, LiveKit sends it again.
        """
        session = self._session_of(notice)
        trigger = self._trigger(notice)
        if session is None or trigger is None:
            return
        if notice.event == _JOINED and notice.age_s > _LATE_S:
            await self._look(session)  # they may be long gone
            return
        try:
            await self._sessions.apply(session.id, trigger)
        except (IllegalTransitionError, SessionNotFoundError) as error:
            log.info("late_webhook_dropped", webhook=notice.event, session_id=session.id, reason=str(error))

    async def _look(self, session: Session) -> None:
        try:
            await self._looker.look(session.id)
        except RoomServerError as error:
            log.debug("look_failed", session_id=session.id, error=str(error))  # the next list makes up for it

    def _session_of(self, notice: Notice) -> Session | None:
        session = self._sessions.live.of_room(notice.room_name)
        if session is None:
            return None
        if session.room_sid is None and notice.session_id != session.id:
            return None  # our room is not known yet: by its name alone it may be a stranger's
        # A room of this name in another life, or of a stranger, says nothing about this session.
        if session.room_sid not in (None, notice.room_sid) or notice.session_id not in ("", session.id):
            return None
        return session

    def _trigger(self, notice: Notice) -> Trigger | None:
        participant = notice.participant
        if notice.event == _JOINED and participant is not None:
            # A joining that is told after its leaving: a SID never comes back.
            return None if participant.sid in self._left else ParticipantsSeen(present=(participant,))
        if notice.event in _LEFT and participant is not None:
            self._left[participant.sid] = None
            if len(self._left) > _LEFT_KEPT:
                del self._left[next(iter(self._left))]
            return ParticipantsSeen(gone=frozenset({participant.sid}))
        if notice.event == "room_finished":
            return RoomFinished(sid=notice.room_sid)
        return None
