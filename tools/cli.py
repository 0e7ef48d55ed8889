"""The `lpu` command: its subcommands, and what an error ends with.

Errors that a user can cause are one line on stderr and exit code 2, found before anything is written.
"""

from __future__ import annotations

import shlex
import sys

import typer

from ..hdl.config import ConfigError
from . import report
from .backend import DeviceError
from .commands import (
    bench,
    compiling,
    doctor,
    drawing,
    evaluating,
    fit,
    generate,
    importing,
    lmhead,
    presets,
    profiling,
    reporting,
    run,
    sweeping,
    synth,
)
from .commands.options import grouped
from .errors import ToolError, UserError

app = typer.Typer(
    name="lpu",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Language models on generated hardware: import, calibrate, compile, run on the RTL, generate Verilog.

    Start with `lpu doctor`, then `lpu run`: the shipped model tells a story on the simulated RTL.""",
)
COMMANDS = {
    "run": run,
    "eval": evaluating,
    "import": importing,
    "lmhead": lmhead,
    "compile": compiling,
    "draw": drawing,
    "profile": profiling,
    "bench": bench,
    "fit": fit,
    "sweep": sweeping,
    "report": reporting,
    "presets": presets,
    "doctor": doctor,
    "generate": generate,
    "synth": synth,
}
for _name, _module in COMMANDS.items():
    app.command(_name)(grouped(_module.command))


def main(arguments: list[str] | None = None) -> int:
    """The entry point: the exit code (0 done, 1 a check failed, 2 bad input, 130 interrupted)."""
    report.typed.set(shlex.join(["lpu", *(sys.argv[1:] if arguments is None else arguments)]))
    try:
        return int(app(args=arguments, prog_name="lpu", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more; keep the interpreter from saying so
        return 1
    except (UserError, ConfigError) as e:
        return _fail(e, 2)
    except DeviceError as e:
        return _fail(e, 1)
    except OSError as e:
        return _fail(ToolError(f"{e.filename or 'a file'}: {e.strerror or e}"), 2)
    except Exception as e:
        if not hasattr(e, "format_message"):  # what typer raises for arguments that it cannot read
            raise
        return _fail(UserError(f"{e.format_message()} (see lpu --help)"), 2)


def _fail(error: Exception, code: int) -> int:
    report.errors.print(f"lpu: error: {error}", markup=False)
    return code
