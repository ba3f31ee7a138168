"""Files uploaded with a new issue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from app.database import Row
from app.dialects.pagure.forms import Form
from app.disk import attachments
from app.http.keys import SETTINGS

PLACEHOLDER = "<!!image>"


@asynccontextmanager
async def store_attachments(
    request: web.Request, project: Row, form: Form, content: str
) -> AsyncIterator[tuple[str, list[str]]]:
    """Store the file of the form if the text has a placeholder for one; delete the file again if the block fails.

    Yields the text with a link in place of the placeholder, and the names of the stored files.
    """
    upload = form.files.get("filestream")
    if upload is None or PLACEHOLDER not in content:
        yield content, []
        return
    root, project_id = request.config_dict[SETTINGS].attachments, project["project_id"]
    stored = await asyncio.to_thread(lambda: attachments.store(root, project_id, upload.filename, upload.file.read()))
    try:
        url = f"/{project['path']}/issue/raw/files/{stored.name}"
        yield content.replace(PLACEHOLDER, f"[![{stored.name.partition('-')[2]}]({url})]({url})"), [stored.name]
    except BaseException:  # also when the client hangs up: no issue refers to the file
        if stored.fresh:
            await asyncio.to_thread(attachments.delete, root, project_id, stored.name)
        raise
