"""The limit on open files, of which every connection needs one."""

import resource
from contextlib import suppress

FILES = 65_536


def raise_file_limit() -> None:
    """Raise the limit of this process and those that it starts to FILES, or as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
