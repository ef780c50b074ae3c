"""Run the command that the arguments name.

The modules of the commands are imported only when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout

from ..ranks.comm import Communicator
from .command import parser

__all__ = ["run_command"]


def run_command(arguments: Sequence[str] | None, comm: Communicator) -> int:
    """Parse the arguments, run their command and return the exit code.

    argparse itself ends the process after printing help, and after wrong usage.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # The ranks compare their arguments before parsing, so that no rank can end here while others continue.
    comm.check_same("the command line", arguments)
    with ExitStack() as stack:
        if comm.rank > 0:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(redirect_stderr(io.StringIO()))
        options = parser().parse_args(arguments)
    if getattr(options, "threads", None) is not None:
        from ...lsh.support.threads import set_num_threads

        set_num_threads(options.threads)
    if options.command == "dedup":
        from .dedup_bloom_options import check_memory_options

        check_memory_options(options)
        if options.memory == "bloom":
            from .dedup_bloom import dedup_bloom

            return dedup_bloom(options, comm)
        from .dedup import dedup

        return dedup(options, comm)
    if options.command == "index":
        from .index import build, query

        return (build if options.action == "build" else query)(options, comm)
    if options.command == "floats":
        from .floats import floats

        return floats(options, comm)
    if options.command == "warmup":
        from .warmup import warmup

        return warmup(options, comm)
    if options.command in ("count", "distinct", "top", "filter", "quantiles"):
        from .sketches import build_sketch

        return build_sketch(options, comm)
    if options.command == "query":
        from .query import query as ask

        return ask(options, comm)
    from .files import inspect, merge

    return (inspect if options.command == "inspect" else merge)(options, comm)
