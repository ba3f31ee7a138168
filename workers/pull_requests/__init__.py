"""Reactions of pull requests. Importing the package registers them."""

from workers.pull_requests import following, merging, rebasing, statuses

__all__ = ["following", "merging", "rebasing", "statuses"]
