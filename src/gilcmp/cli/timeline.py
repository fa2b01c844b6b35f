"""``gilcmp timeline``."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from attrs import define, evolve

from gilcmp.cli.arguments import Duration, example, need_writable
from gilcmp.cli.output import complain, failed, save, show, tell_of_the_gil


@click.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
    short_help="Record which thread of a program holds the GIL when.",
    epilog=example("gilcmp timeline -o gil.json.gz script.py --its-own-option"),
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    metavar="FILE",
    help="Save a trace (.json, .json.gz) or a picture (.svg, .png, .pdf); repeatable.",
)
@click.option("--pace", type=Duration(), help="Time between two looks; default: what costs next to nothing.")
@click.option("--keep", type=click.IntRange(1, 10**9), default=10**6, help="Spans kept, the newest; default: 1000000.")
@click.option("--after", type=Duration(), help="Begin so long after the program has; default: at once.")
@click.option("--for", "length", type=Duration(), help="Record for so long and save then; the program goes on.")
@click.option("--details", is_flag=True, help="Show all threads, not only those that held longest.")
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@click.option("--or-run", is_flag=True, help="Where nothing can be recorded, run the program all the same.")
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module, as for python -m.")
@click.argument("program", metavar="PROGRAM")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT ...]")
def timeline(
    outputs: tuple[str, ...],
    pace: float | None,
    keep: int,
    after: float | None,
    length: float | None,
    details: bool,
    quiet: bool,
    or_run: bool,
    module: bool,
    program: str,
    arguments: tuple[str, ...],
) -> Callable[[], None]:
    """Run a program and record which thread holds the GIL when; the summary goes to standard error.

    The program's output, exit code, exceptions, sys.argv and __main__ are as without it. Options stand before it.
    SIGTERM saves before it ends the program, SIGUSR1 shows a summary and goes on, unless the program handles them.
    Processes that it forks have recordings of their own where there is -o, with their numbers in the files' names.
    """
    from gilcmp.probing.program import check
    from gilcmp.probing.timeline import PICTURES, Timeline, check_target

    try:
        for output in outputs:
            check_target(output)
            need_writable(output)
            if output.lower().endswith(PICTURES):
                from gilcmp.show.figure import need_matplotlib

                need_matplotlib()
        check(program, module=module)
        Timeline(pace=pace, keep=keep)
    except (ValueError, TypeError, ImportError) as error:
        raise click.UsageError(str(error)) from None
    make = partial(Timeline, pace=pace, keep=keep)
    options = Options(outputs=outputs, details=details, quiet=quiet, or_run=or_run, after=after, length=length)
    return partial(record, make, program, arguments, module=module, options=options)


@define
class Options:
    """What is to be done with a recording; `after` and `length` in seconds, None: from the beginning, to the end."""

    outputs: tuple[str, ...] = ()
    details: bool = False
    quiet: bool = False
    or_run: bool = False
    after: float | None = None
    length: float | None = None


def record(make: Callable[[], Any], name: str, arguments: tuple[str, ...], *, module: bool, options: Options) -> None:
    """Run a program, and show and save the recording when it is over: after its own exit handlers."""
    from gilcmp.probing import program

    # the program may change its folder
    keeper = Keeper(make, evolve(options, outputs=tuple(map(os.path.abspath, options.outputs))))
    try:
        code = program.load(name, module=module)
    except BaseException:  # what Python says of it, without our frames
        program.hide_frames()
        raise
    try:
        atexit.register(keeper.finish)  # the first to be registered is the last to run
        keeper.begin()
    except KeyboardInterrupt as error:  # nothing has run yet
        keeper.over = True
        sys.exit(failed(error))
    except (RuntimeError, MemoryError) as error:  # the GIL cannot be watched, or no thread started
        keeper.over = True
        if not options.or_run:
            sys.exit(complain(f"{error}; gilcmp timeline --or-run runs the program without a recording"))
        complain(f"{error}: nothing is recorded")
    try:
        program.run(name, arguments, module=module, code=code)
    except KeyboardInterrupt:
        keeper.interrupted = True
        raise
    finally:
        program.hide_frames()


class Keeper:
    """Begins a recording and ends it: when the program does, when its time is over, or at SIGTERM.

    Parameters
    ----------
    make : callable
        Makes a recording, which is begun and ended as by a ``with`` statement.
    options : Options
        What is to be done with it.
    """

    def __init__(self, make: Callable[[], Any], options: Options) -> None:
        self._make, self._options = make, options
        self._recording: Any = None
        self._alarms: list[Any] = []
        self._process = os.getpid()
        self._is_child = False
        self._ending = threading.Lock()  # whoever comes second waits until all is saved
        self._busy = False  # the main thread is saving or showing
        self._wanted = 0
        self._ended_by: int | None = None
        self._handlers: dict[str, Any] = {"SIGTERM": self._terminated, "SIGUSR1": self._asked}
        self.over = False
        self.interrupted = False

    def begin(self) -> None:
        """Begin to record, now or later, and see to it that forks and signals are noticed."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_in_child)
        for name, handler in self._handlers.items():
            _replace_handler(name, signal.SIG_DFL, handler)
        if self._options.after is None:
            self._record()
        else:
            self._later(self._options.after, self._record_late)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        from gilcmp.watch import _gil

        self._alarms.append(_gil.Alarm(seconds, call))

    def _record_late(self) -> None:
        try:
            self._record()
        except (RuntimeError, MemoryError) as error:  # the program goes on
            self.over = True
            complain(f"{error}: nothing is recorded")

    def _record(self) -> None:
        recording = self._make()
        recording.__enter__()
        with self._ending:
            if not self.over:
                self._recording = recording
                recording = None
        if recording is not None:  # the program has ended meanwhile
            recording.__exit__()
            return
        if self._options.length is not None:
            self._later(self._options.length, self._finish_part)

    def _begin_in_child(self) -> None:
        """In a child of fork: a recording of its own, in files of its own; its output is as without us.

        So is what SIGTERM does to it: a pool ends its workers by it, and one that is in native code must die at once.
        """
        for name, handler in self._handlers.items():
            _replace_handler(name, handler, signal.SIG_DFL)
        if self.over or not self._options.outputs:
            self.over = True
            return
        self._process, self._is_child, self._recording, self._alarms = os.getpid(), True, None, []
        self._ending = threading.Lock()
        outputs = tuple(_with_number(output, self._process) for output in self._options.outputs)
        self._options = evolve(self._options, outputs=outputs, after=None)
        with contextlib.suppress(RuntimeError, MemoryError):  # the child runs all the same
            self._record()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:  # its children leave without the exit handlers, and forget what is to be done at first
            util.register_after_fork(self, lambda keeper: util.Finalize(None, keeper.finish, exitpriority=-100))

    def finish(self) -> None:
        """End the recording, and save and show it: once for each process."""
        if self._process != os.getpid():
            return
        while signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            with contextlib.suppress(KeyboardInterrupt):  # from here on it would only lose what was seen
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._busy = True
        try:
            with self._ending:
                self._end()
        finally:
            self._busy = False
        if self._ended_by is not None:  # SIGTERM came meanwhile
            self._die(self._ended_by)
        if self.interrupted:
            from gilcmp.probing import program

            program.leave_interrupted()

    def _finish_part(self) -> None:
        """End the recording when its time is over; the program goes on."""
        with self._ending:
            self._end()

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        recording, self._recording = self._recording, None
        for alarm in self._alarms:
            alarm.cancel()
        if recording is None:
            if not self._is_child and self._options.after is not None:
                complain(f"the program was over before {self._options.after:g} s: nothing was recorded")
            return
        recording.__exit__()
        for output in self._options.outputs:
            save(recording.save, output)
        if self._is_child:
            return
        if not self._options.quiet:
            show(recording.sections() if self._options.details else recording.overview(), stderr=True)
        tell_of_the_gil()

    def _terminated(self, number: int, _: Any) -> None:
        """Save, then end as without us."""
        if self._busy:  # this very thread is in the middle of saving or showing
            self._ended_by = number
            return
        try:
            self.finish()
        finally:
            self._die(number)

    @staticmethod
    def _die(number: int) -> None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)  # the first process of a container gets no such signal

    def _asked(self, *_: Any) -> None:
        """Show what was seen until now, and go on."""
        self._wanted += 1
        if self._busy or self._recording is None or not hasattr(self._recording, "so_far"):
            return
        self._busy = True
        try:
            while self._wanted:  # it may come again meanwhile
                self._wanted = 0
                # it may have ended by now; and what is interrupted may be printing itself
                with contextlib.suppress(RuntimeError, AttributeError, OSError):
                    show(self._recording.so_far().overview(), stderr=True)
        finally:
            self._busy = False
            if self._ended_by is not None:
                self._terminated(self._ended_by, None)


def _replace_handler(name: str, old: Any, new: Any) -> None:
    """Set a signal's handler if it is what it should be; Windows does not have all signals."""
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) == old:
        with contextlib.suppress(ValueError, OSError):  # not in the main thread
            signal.signal(number, new)


def _with_number(path: str, number: int) -> str:
    """Return a file's name with a process's number before its ending: gil.123.json.gz."""
    folder, name = os.path.split(path)
    stem, dot, ending = name.partition(".")
    return str(Path(folder, f"{stem}.{number}{dot}{ending}"))
