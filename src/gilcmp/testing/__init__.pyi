"""The assertions, for type checkers."""

from gilcmp.testing.assertions import Watched as Watched
from gilcmp.testing.assertions import assert_import_keeps_gil_off as assert_import_keeps_gil_off
from gilcmp.testing.assertions import assert_max_stall as assert_max_stall
from gilcmp.testing.assertions import assert_releases_gil as assert_releases_gil
from gilcmp.watch._gil import hold_gil as hold_gil
from gilcmp.watch._gil import release_gil as release_gil

BUSY_CHOICES: tuple[str, ...]
