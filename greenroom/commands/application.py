"""All commands in one list; each lives in a file of its own and loads what it needs when it runs."""

from __future__ import annotations

import typer

from greenroom.commands import demo, doctor, engine, export, keys, recorder, serve, shred, up, verify, version


def build() -> typer.Typer:
    """Make the application. Errors that a command raises pass through, for the caller to print."""
    application = typer.Typer(
        help="Greenroom: realtime media sessions on LiveKit.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for name, command in (
        ("up", up.up),
        ("demo", demo.demo),
        ("serve", serve.serve),
        ("recorder", recorder.recorder),
        ("engine", engine.engine),
        ("verify", verify.verify),
        ("export", export.export),
        ("shred", shred.shred),
        ("hold", shred.hold),
        ("release", shred.release),
        ("doctor", doctor.doctor),
        ("version", version.version),
    ):
        application.command(name)(command)
    application.add_typer(keys.keys, name="keys")
    return application
