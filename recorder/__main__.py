"""`python -m recorder`: reads the settings and records until SIGTERM or Ctrl-C."""

from __future__ import annotations

import sys

import uvloop

from recorder.adapters import log_output
from recorder.core.errors import SettingsError
from recorder.settings import load_settings
from recorder.wiring import build
from sdk.errors import WorkerRefusedError


def main() -> int:
    """Run the recorder.

    Returns:
        Exit code: 0 after a wanted end, 2 when a setting is wrong or the orchestrator refuses this recorder
        (one sentence on standard error).
    """
    try:
        settings = load_settings()
        log_output.configure(settings.log_level)
        build(settings).run(loop_factory=uvloop.new_event_loop)
    except (SettingsError, WorkerRefusedError) as error:
        print(f"greenroom recorder: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
