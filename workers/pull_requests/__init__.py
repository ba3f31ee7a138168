"""Reactions of pull requests. Importing the package registers them."""

from workers.pull_requests import following, merging, rebasing

__all__ = ["following", "merging", "rebasing"]
