"""How help is laid out. What it says stands with the commands."""

from __future__ import annotations

import inspect

import typer


def flow(app: typer.Typer) -> None:
    """Let each paragraph of the commands' help be as wide as the terminal, and not as its source."""
    for command in app.registered_commands:
        command.help = _flowing(command.help or inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.info.help = _flowing(str(group.typer_instance.info.help))
            flow(group.typer_instance)


def _flowing(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.splitlines()) for paragraph in paragraphs)
