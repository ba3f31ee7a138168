"""The one way out: every connection that a user can aim is made here, and only to where the guard lets it."""
