"""What can be wrong when git is asked for something. None of these speaks of HTTP; the dialects have the words.

GitError
├── Missing            there is no such thing, or no ref that anybody may see leads to it
│   ├── NoRepository
│   ├── NoBranch
│   ├── NoCommit       malformed, ambiguous, unknown, unreachable, or something that is no commit
│   └── NoPath         no such tree, file or identifier
├── EmptyRepository    there are no branches yet
├── AlreadyThere       a ref of this name exists
├── BadName            git would not take it as the name of a ref
├── LostRace           the ref has been moved by somebody else since it was looked at
├── NotForward         the ref would lose commits that it leads to
├── NotSignedOff
├── NothingToMerge
├── NeedsRebase        a merge commit would be needed, and the project wants none
├── Conflict           with the paths that clash
├── EmptyDiff
├── TooLarge           a limit of this module's own was reached
├── TimedOut
└── GitFailed          the git program refused; its own words
"""


class GitError(Exception):
    """`subject` is the branch, commit, path or ref this is about, as it was asked for."""

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


class RefMoved(GitError): ...


class NotFastForward(GitError): ...


class NotSignedOff(GitError): ...


class NothingToMerge(GitError): ...


class NeedsRebase(GitError): ...


class MergeConflict(GitError):
    """`paths` are the first of the files that clash, for people to read."""

    def __init__(self, subject: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(subject)
        self.paths = paths


class EmptyDiff(GitError): ...


class TooLarge(GitError): ...


class TimedOut(GitError): ...


class GitFailed(GitError): ...
