"""Reports of a recording over the SDK's job: `recording` frames that are repeated until acknowledged."""

from __future__ import annotations

import logging
from typing import Final

from recorder.core.errors import StaleAttemptError
from recorder.ports import Standing
from sdk.errors import JobEndedError, UnavailableError
from sdk.job import Job

WAIT_S: Final = 5.0  # for the acknowledgement; afterwards the SDK goes on delivering by itself

_log = logging.getLogger("greenroom.recorder")


class JobReports:
    """A `Reporter` for one job.

    Args:
        job: whose recording it is.
        location: where it is stored, as the orchestrator is told.
    """

    def __init__(self, job: Job, *, location: str) -> None:
        self._job = job
        self._location = location

    @property
    def is_in_touch(self) -> bool:
        """Whether the last heartbeats were answered; see `Reporter.is_in_touch`."""
        return self._job.is_in_touch

    async def report(self, standing: Standing) -> None:
        """Deliver where the recording stands; see `Reporter.report`."""
        try:
            await self._job.report_recording(
                standing.state.value,
                timeout_s=WAIT_S,
                store=self._location,
                tree_size=standing.tree_size,
                root=standing.root,
                checkpoint=standing.checkpoint,
                stats=standing.stats,
                gaps=standing.pauses,
                closes=standing.closes,
                op=standing.op,
                detail=standing.detail,
            )
        except UnavailableError as error:
            _log.warning("the orchestrator has not confirmed %s yet: %s", standing.state.value, error)
        except JobEndedError as error:
            raise StaleAttemptError(str(error)) from error
