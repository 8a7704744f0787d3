"""`greenroom recorder`: the recorder, in place of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from greenroom.commands.options import ConfigOption, KeyDirOption
from greenroom.commands.serve import become


def recorder(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The orchestrator, http://HOST:PORT (GREENROOM_URL)."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Recordings go to DIR/recordings, keys to DIR/keys, the spool to DIR/spool.",
            file_okay=False,
        ),
    ] = None,
    key_dir: KeyDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Run a recorder alone; sessions ask for it with `record: true`.

    Of `config.toml` it takes `[recording] chunk_store`, `spool_path`, `spool_budget` and `[encryption]`.
    """
    from greenroom.recorder_environment import recorder_environment
    from greenroom.recording_keys import configured

    keys = key_dir or (data / "keys" if data else None)
    chosen = {
        "GREENROOM_URL": url,
        "CHUNK_STORAGE_PATH": str(data / "recordings") if data else None,
        "SPOOL_PATH": str(data / "spool") if data else None,
        "GREENROOM_KEY_DIR": str(keys) if keys else None,
    }
    options = {name: value for name, value in chosen.items() if value is not None}
    become("recorder", {**recorder_environment(configured(config)), **options}, [])
