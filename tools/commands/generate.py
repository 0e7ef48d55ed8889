"""`lpu generate`"""

from __future__ import annotations

from .. import report
from .options import Json, Machine, Out


def command(
    *,
    out: Out,
    machine: Machine,
    as_json: Json = False,
) -> int:
    """Write the Verilog of a configuration (top module `lpu`), its register map and a manifest.

    lpu generate --preset kv260 --out kv260-rtl
    lpu generate --engines 1 --lanes 32 --pods 2 --set limits.max_hidden=2048 --out small
    """
    from ..generate import generate

    chosen = machine.choose()
    with report.progress() as progress:
        progress(f"generating the Verilog of {chosen.name}", 0.0)
        files = [p.name for p in generate(chosen, out)]
    if as_json:
        report.emit({"out": str(out), "files": files, "config": chosen.to_dict(), "fingerprint": chosen.fingerprint})
    else:
        report.say(
            f"{chosen.engines} engines × {chosen.lanes} lanes × {chosen.pods} pods written to {out}: {', '.join(files)}"
        )
    return 0
