"""The command ``gilcmp``, and ``python -m gilcmp``."""

import os  # nothing that is not loaded already: Ctrl-C would be a traceback here

INTERRUPTED = 130


def main() -> None:
    """Run the command line; Ctrl-C while that is still being imported is no traceback either."""
    try:
        from gilcmp.cli.main import main as run
    except KeyboardInterrupt:
        os.write(2, b"gilcmp: interrupted\n")
        os._exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
