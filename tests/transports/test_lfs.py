"""What clients of Git LFS are told."""

import pytest

from tests.conftest import Client, Forge

MEDIA = "application/vnd.git-lfs+json"


@pytest.mark.parametrize("project", ["nethack", "fork/alice/nethack", "no/such"])
@pytest.mark.parametrize(("method", "path"), [("POST", "objects/batch"), ("POST", "locks/verify"), ("GET", "locks")])
async def test_a_client_of_git_lfs_reads_that_it_is_not_supported(
    forge: Forge, nethack: Client, method: str, path: str, project: str
) -> None:
    headers = {"Accept": MEDIA, "Content-Type": MEDIA}
    status, body = await nethack.request(method, f"/{project}.git/info/lfs/{path}", data=b"{}", headers=headers)
    assert (status, nethack.headers["Content-Type"].partition(";")[0]) == (501, MEDIA)
    assert body["message"] == "This server does not support Git LFS; commit the files without it."


async def test_a_file_whose_path_looks_like_that_of_lfs_is_still_a_file(forge: Forge, nethack: Client) -> None:
    async with forge.session.get(f"{forge.url}/nethack/raw/main/f/x.git/info/lfs/locks") as answer:
        assert answer.status == 404
