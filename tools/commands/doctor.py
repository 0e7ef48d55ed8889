"""`lpu doctor`"""

from __future__ import annotations

from .. import report
from ..doctor import diagnose, healthy
from .options import Json


def command(as_json: Json = False) -> int:
    """Check that this computer has what the project needs, and say how to get what is missing (exit code 1)."""
    checks = diagnose()
    if as_json:
        report.emit({"ok": healthy(checks), "checks": [vars(c) for c in checks]})
    else:
        state = {c.name: "ok" if c.ok else "MISSING" if c.required else "optional" for c in checks}
        rows = [(c.name, state[c.name], c.found, c.remedy) for c in checks]
        report.say(report.table(("what", "state", "found", "remedy"), rows))
    return 0 if healthy(checks) else 1
