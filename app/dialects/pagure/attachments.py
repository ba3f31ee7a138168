"""Files that come with a new issue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from app import attachments
from app.database import Row
from app.dialects.pagure.forms import Form
from app.http.keys import SETTINGS

PLACEHOLDER = "<!!image>"


@asynccontextmanager
async def store_attachments(
    request: web.Request, project: Row, form: Form, content: str
) -> AsyncIterator[tuple[str, list[str]]]:
    """The text with the file of the form where it asks for one, and what this is called. The file goes again if the
    block fails.
    """
    upload = form.files.get("filestream")
    if upload is None or PLACEHOLDER not in content:
        yield content, []
        return
    root, project_id = request.config_dict[SETTINGS].attachments, project["project_id"]
    kept = await asyncio.to_thread(lambda: attachments.store(root, project_id, upload.filename, upload.file.read()))
    try:
        address = f"/{project['path']}/issue/raw/files/{kept.name}"
        yield content.replace(PLACEHOLDER, f"[![{kept.name.partition('-')[2]}]({address})]({address})"), [kept.name]
    except BaseException:  # a client that hung up included: nobody shows the file; it is raised again
        if kept.fresh:
            await asyncio.to_thread(attachments.delete, root, project_id, kept.name)
        raise
