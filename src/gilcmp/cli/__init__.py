"""The command line, a module for each family of commands: parse, call the API, show, save; no logic of its own."""
