"""The commands of the command line: each parses, calls the API, shows and saves; no logic of its own."""
