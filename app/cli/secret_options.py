"""Secrets for commands. They come from files and variables, because all users of a machine can see arguments."""

import os
import sys
from pathlib import Path

from app.cli.client import RequestRefused
from app.config import read_secret

# Options that take a secret itself, which only older scripts use.
OLD_OPTIONS = {
    "--admin-token": "POLYFORGE_ADMIN_TOKEN",
    "--token": "POLYFORGE_TOKEN",
    "--password": "POLYFORGE_PASSWORD",
    "--secret": "POLYFORGE_HOOK_SECRET",
}


def hide_options() -> None:
    """If an option contains a secret, move it to the environment and start the program again."""
    kept, moved = _split_arguments(sys.argv[1:])
    if not moved:
        return
    for option in moved:
        sys.stderr.write(
            f"Warning: with {option}, all users of this machine can see the secret. Use {option}-file or the variable "
            f"{OLD_OPTIONS[option]} instead.\n"
        )
    sys.stderr.flush()
    program = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    environment = {**os.environ, **{OLD_OPTIONS[option]: secret for option, secret in moved.items()}}
    os.execve(sys.executable, [sys.executable, *program, *kept], environment)  # noqa: S606 - our own program


def _split_arguments(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Separate the options that contain a secret from the other arguments."""
    kept, moved, rest = [], {}, iter(arguments)
    for argument in rest:
        option, given, secret = argument.partition("=")
        if option not in OLD_OPTIONS:
            kept.append(argument)
        elif given:
            moved[option] = secret
        else:
            moved[option] = next(rest, "")
    return kept, moved


def read_option(variable: str, path: Path | None) -> str | None:
    """Return a secret from a file, or else from the environment. Raises RequestRefused."""
    if path is None:
        return os.environ.get(variable) or None
    try:
        return read_secret(path)
    except OSError as error:
        raise RequestRefused(f"Cannot read {path}: {error.strerror}") from None
