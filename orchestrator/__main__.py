"""`python -m orchestrator`: reads the settings and runs until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import uvloop

from orchestrator.adapters import structlog_output
from orchestrator.core.errors import SettingsError
from orchestrator.settings import load_settings
from orchestrator.wiring import run

SWITCH_S: Final = 0.0005


def main(argv: list[str] | None = None) -> int:
    """Run the orchestrator.

    Returns:
        Exit code: 0 after a wanted end, 2 when a setting is wrong (one sentence on standard error).
    """
    parser = argparse.ArgumentParser(
        prog="greenroom serve",
        description="The orchestrator: sessions, tokens, jobs and events over HTTP.",
    )
    parser.add_argument(
        "--config", type=Path, help="settings file (default: CONFIG_PATH, else ./config.toml)"
    )
    options = parser.parse_args(argv)
    try:
        settings = load_settings(options.config)
        structlog_output.configure(
            level=settings.logging.level,
            output_format=settings.logging.format,
            service=settings.service.name,
            environment=settings.service.environment,
        )
        # The store's threads want their turn at every statement; Python's 5 ms would make each commit wait.
        sys.setswitchinterval(SWITCH_S)
        uvloop.run(run(settings))
    except SettingsError as error:
        print(f"greenroom: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
