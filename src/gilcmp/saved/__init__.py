"""What a file holds: environment, observations, runs; and reading and writing it."""
