"""Commands for those who follow a forge from outside, by its API: its events, its tasks, its deliveries."""
