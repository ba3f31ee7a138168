"""Errors of the git layer. They carry no messages for users: each dialect has its own.

GitError
├── Missing            it does not exist, or no visible ref leads to it
│   ├── NoRepository
│   ├── NoBranch
│   ├── NoCommit       malformed, ambiguous, unknown or unreachable id, or not a commit
│   └── NoPath         no such tree, file or identifier
├── EmptyRepository    there are no branches yet
├── AlreadyExists      a ref of this name exists
├── BadName            git does not accept it as the name of a ref
│   └── NameClash      another ref makes the name impossible, as `dir` does `dir/sub`
├── RefMoved           another writer has moved the ref since it was read
├── NotFastForward     the ref would lose commits
├── NotSignedOff
├── NothingToMerge
├── NeedsRebase        a merge commit would be needed, and the project allows none
├── MergeConflict      with the conflicting paths
├── EmptyDiff
├── TooLarge           a limit of this package was exceeded
├── TimedOut
├── NeedsSearch        the history would have to be searched, and the caller does not want that
└── GitFailed          git failed; with its error output
"""


class GitError(Exception):
    """`subject` is the branch, commit, path or ref in question, as the caller wrote it."""

    def __init__(self, subject: str = "") -> None:
        super().__init__(subject)
        self.subject = subject


class Missing(GitError): ...


class NoRepository(Missing): ...


class NoBranch(Missing): ...


class NoCommit(Missing): ...


class NoPath(Missing): ...


class EmptyRepository(GitError): ...


class AlreadyExists(GitError): ...


class BadName(GitError): ...


class NameClash(BadName):
    """`other` is the ref that is in the way, without `refs/heads/` or `refs/tags/`."""

    def __init__(self, subject: str, other: str) -> None:
        super().__init__(subject)
        self.other = other


class RefMoved(GitError): ...


class NotFastForward(GitError): ...


class NotSignedOff(GitError): ...


class NothingToMerge(GitError): ...


class NeedsRebase(GitError): ...


class MergeConflict(GitError):
    """`paths` are the first of the conflicting files, to show to users."""

    def __init__(self, subject: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(subject)
        self.paths = paths


class EmptyDiff(GitError): ...


class TooLarge(GitError): ...


class TimedOut(GitError): ...


class NeedsSearch(GitError): ...


class GitFailed(GitError): ...
