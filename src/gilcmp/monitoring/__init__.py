"""Watching a process for as long as it runs: from inside, and from outside."""
