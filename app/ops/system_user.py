"""Giving up root: the forge runs as the owner of the data directory or, if that is root, as a system user."""

import ctypes
import errno
import os
import pwd
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SYSTEM_USER = "polyforge"
PRIVATE = 0o700
# Everything that a command creates in a data directory. A directory of root's in which there are files, but none of
# these, is not a data directory and is not given away.
KNOWN_ENTRIES = frozenset({
    "repositories", "attachments", "metrics", "secrets.key", "forge.log", "services.json", "up.lock",
    "postgres", "postgres.new", "postgres.log", "postgres.password", "postgres-role.password",
    "valkey.log", "valkey.password",
})  # fmt: skip
CODE = Path(__file__).parent.parent.parent

# A POSIX access control list as Linux stores it: a version, then entries of tag, permissions and id.
ACL, ACL_VERSION, NO_ID = "system.posix_acl_access", 2, 0xFFFFFFFF
ACL_HEADER, ACL_ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
OWNER, NAMED_USER, GROUP, NAMED_GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
SEARCH = 1
SET_PARENT_DEATH_SIGNAL, GET_PARENT_DEATH_SIGNAL = 1, 2  # of prctl


class SystemUserError(RuntimeError):
    """Root cannot be given up; the message is for the user."""


@dataclass(frozen=True)
class OpenedFolder:
    """A folder that a user may pass through from now on; all users may if `to_all` is set."""

    path: Path
    to_all: bool


def drop_root(data: Path) -> str | None:
    """Change this process from root to another user, and return sentences about it; do nothing for other users.

    The user is the owner of the data directory. If that is root, or there is no directory yet, it is SYSTEM_USER, which
    gets the directory. Raises SystemUserError.
    """
    if os.geteuid() != 0:
        return None
    data = data.resolve()
    if not data.exists():
        data.mkdir(parents=True)
    owner = data.stat().st_uid
    user = find_user(owner) if owner else ensure_user(SYSTEM_USER)
    opened = [folder for path in (data, *_list_code()) for folder in open_path(path, user)]
    _check_code(user)
    if not owner:
        _give_directory(data, user)
    become(user)
    return " ".join([f"Started by root: running as the user {user.pw_name}.", *describe_opened(opened, user)])


def describe_opened(opened: list[OpenedFolder], user: pwd.struct_passwd) -> list[str]:
    """Return sentences about the folders that were opened, for the operator."""
    to_user = ", ".join(str(folder.path) for folder in opened if not folder.to_all)
    to_all = ", ".join(str(folder.path) for folder in opened if folder.to_all)
    sentences = []
    if to_user:
        sentences.append(f"This user may now pass through {to_user} (an access control list; getfacl shows it).")
    if to_all:
        sentences.append(
            f"All users may now pass through {to_all} (chmod o+x), because the file system keeps no access control "
            f"lists. To allow the user {user.pw_name} alone, move the folder to another file system."
        )
    return sentences


def follow_owner(data: Path) -> None:
    """Change from root to the owner of the data directory, so that all files in it belong to the same user."""
    if os.geteuid() == 0 and data.exists() and (owner := data.stat().st_uid):
        become(find_user(owner))


def become(user: pwd.struct_passwd) -> None:
    """Change the user of this process for good. Its only group is the user's own.

    The kernel then forgets which signal to send when the parent ends, so this is set again.
    """
    parent, signal_number = os.getppid(), ctypes.c_int(0)
    libc = ctypes.CDLL(None)
    libc.prctl(GET_PARENT_DEATH_SIGNAL, ctypes.byref(signal_number))
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    libc.prctl(SET_PARENT_DEATH_SIGNAL, signal_number.value)
    if signal_number.value and os.getppid() != parent:
        os.kill(os.getpid(), signal_number.value)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def find_user(user_id: int) -> pwd.struct_passwd:
    """Return a user by number. For a number without a name, as in a container, the other fields have defaults."""
    try:
        return pwd.getpwuid(user_id)
    except KeyError:
        return pwd.struct_passwd((f"#{user_id}", "x", user_id, user_id, "", "/nonexistent", "/bin/false"))


def ensure_user(name: str) -> pwd.struct_passwd:
    """Return a system user, and create it if there is none. Raises SystemUserError."""
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    options = ["--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin"]
    problem = "there is no program useradd"
    for _ in range(2):  # another process may create the same user at this moment
        try:
            return pwd.getpwnam(name)
        except KeyError:
            if program is not None:
                made = subprocess.run([program, *options, name], capture_output=True, check=False)
                problem = made.stderr.decode(errors="replace").strip()
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise SystemUserError(
            f"Started by root, which needs the system user {name}, and it could not be created ({problem}). Create it, "
            "or start Polyforge as another user."
        ) from None


def open_path(path: Path, user: pwd.struct_passwd) -> list[OpenedFolder]:
    """Let the user pass through the parents of a path, and return those for which the permission was missing.

    Only this user gets the permission, which does not include listing the folder. On a file system without access
    control lists, all users get it. Raises SystemUserError.
    """
    try:
        return [_let_pass(folder, user.pw_uid) for folder in path.parents if not _may_pass(folder, user)]
    except OSError as error:
        raise SystemUserError(
            f"Started by root, Polyforge runs as the user {user.pw_name}, who may not pass through {error.filename}, "
            f"and this cannot be changed ({error.strerror}). Choose another folder, or start Polyforge as another user."
        ) from None


def _may_pass(folder: Path, user: pwd.struct_passwd) -> bool:
    found = folder.stat()
    entries = _read_acl(folder)
    for tag, permissions, number in entries:
        if tag == NAMED_USER and number == user.pw_uid:
            mask = next((rights for kind, rights, _ in entries if kind == MASK), 7)
            return bool(permissions & mask & SEARCH)
    if found.st_uid == user.pw_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == user.pw_gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _let_pass(folder: Path, user_id: int) -> OpenedFolder:
    entries = [entry for entry in _read_acl(folder) if entry[0] != MASK and entry[0::2] != (NAMED_USER, user_id)]
    mode = folder.stat().st_mode
    entries = entries or [(OWNER, mode >> 6 & 7, NO_ID), (GROUP, mode >> 3 & 7, NO_ID), (OTHERS, mode & 7, NO_ID)]
    entries.append((NAMED_USER, SEARCH, user_id))
    mask = 0
    for tag, permissions, _ in entries:
        mask |= permissions if tag in (NAMED_USER, GROUP, NAMED_GROUP) else 0
    packed = [ACL_ENTRY.pack(*entry) for entry in sorted([*entries, (MASK, mask, NO_ID)])]
    try:
        os.setxattr(folder, ACL, ACL_HEADER.pack(ACL_VERSION) + b"".join(packed))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
        return OpenedFolder(folder, to_all=True)
    return OpenedFolder(folder, to_all=False)


def _read_acl(folder: Path) -> list[tuple[int, int, int]]:
    try:
        raw = os.getxattr(folder, ACL)
    except OSError:  # there is none, or the file system keeps none
        return []
    return list(ACL_ENTRY.iter_unpack(raw[ACL_HEADER.size :]))


def _list_code() -> Iterator[Path]:
    """Yield one path in each folder that the program is loaded from."""
    yield from (CODE / "app", Path(sys.prefix) / "bin", Path(sys.base_prefix) / "bin", Path(sys.executable).resolve())


def _check_code(user: pwd.struct_passwd) -> None:
    """Raise SystemUserError if the user cannot read the program, for example because of root's umask."""
    for path in (Path(sys.executable).resolve(), CODE / "app" / "__init__.py", Path(os.__file__), Path(__file__)):
        test = ["/usr/bin/test", "-r", str(path)]
        if subprocess.run(test, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/", check=False).returncode:
            raise SystemUserError(
                f"Started by root, Polyforge runs as the user {user.pw_name}, who may not read {path}. Run "
                f"`chmod -R go+rX {path.parent}`, or start Polyforge as another user."
            )


def _give_directory(data: Path, user: pwd.struct_passwd) -> None:
    """Give root's data directory to the user, with everything in it. Raises SystemUserError.

    Each entry is reached through its open folder and symbolic links are not followed, so nothing outside is given away,
    even if another user renames folders meanwhile. The directory itself comes last: if this is interrupted, it still
    belongs to root and the next start repeats it.
    """
    top = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        names = os.listdir(top)
        if names and not any(map(_is_known, names)):
            raise SystemUserError(
                f"{data} belongs to root and is not empty, but is not a data directory of Polyforge. Choose another "
                "one with --data or POLYFORGE_DATA. If this one is meant for Polyforge alone, run "
                f"`chown {user.pw_name} {data}`."
            )
        for _, folders, files, folder in os.fwalk(".", topdown=False, dir_fd=top, onerror=_raise):
            for name in (*folders, *files):
                os.chown(name, user.pw_uid, user.pw_gid, dir_fd=folder, follow_symlinks=False)
        os.fchmod(top, PRIVATE)
        os.fchown(top, user.pw_uid, user.pw_gid)
    finally:
        os.close(top)


def _is_known(name: str) -> bool:
    """Whether a file is one of KNOWN_ENTRIES, or such a file that was being written when a command was killed."""
    return name in KNOWN_ENTRIES or any(name.startswith(f".{known}-") for known in KNOWN_ENTRIES)


def _raise(error: OSError) -> None:
    raise error
