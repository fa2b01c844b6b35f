"""``python -m gilcmp``."""

from gilcmp.cli import main

if __name__ == "__main__":
    main()
