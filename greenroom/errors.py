"""What ends a command of Greenroom.

CommandError                 one sentence, exit code 2
├── FolderHeldError          another process works in this data folder
└── MediaServerError         it is missing, or does not start
"""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot be carried out as asked; the message says what, why and the fix in one sentence."""


class FolderHeldError(CommandError):
    """Another Greenroom works in this data folder; end it or name another folder."""


class MediaServerError(CommandError):
    """The media server is missing or did not start; its log says more."""
