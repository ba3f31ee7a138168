"""What is taken for an address in the web, wherever somebody may write one."""

import re

URL = re.compile(
    r"(https?|ftp|git)://([^\s/?#@]+@)?"
    r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:.]+\]|localhost|([a-z0-9_]([a-z0-9\-_]*[a-z0-9_])?\.)+[a-z]{2,})"
    r"(:\d{2,5})?([/?#]\S*)?\Z",
    re.IGNORECASE,
)
