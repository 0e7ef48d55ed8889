"""`lpu compile`"""

from __future__ import annotations

from dataclasses import asdict

from .. import report
from ..compiler import compile_model
from ..errors import ModelError
from ..folder import check_target
from ..image import KIND, channel_file
from ..library import open_model, prepare
from .options import Calibration, Context, Head, Json, Machine, Out, RequiredModel


def command(
    model: RequiredModel,
    *,
    out: Out,
    machine: Machine,
    calibration: Calibration,
    context: Context = None,
    head: Head,
    as_json: Json = False,
) -> int:
    """Compile a model for a machine: one memory image per channel with its program, and a manifest.

    The folder holds all that `lpu run DIR` needs. The same input gives the same bytes.

        lpu compile path/to/stories260K --preset tiny --out stories-tiny
        lpu run stories-tiny
        lpu compile path/to/gpt2 --lm-head certified --margin calibrated --miss-rate 0.001 --out gpt2-certified
    """
    check_target(out, KIND)
    chosen = machine.choose()
    mode = head.choose(chosen.limits)
    opened = open_model(model)
    if opened.image is not None:
        raise ModelError(f"{opened.path} is compiled already: name the model that it was made from")
    positions = opened.positions(context)
    with report.progress() as progress:
        bundle = prepare(opened, chosen, calibration.recipe(head.miss_rate), mode, context=positions, progress=progress)
        image = compile_model(bundle.model, chosen, context=positions, head=mode)
        image.save(out, bundle)
    rows = [
        (channel_file(c), len(stored), len(channel))
        for c, (stored, channel) in enumerate(zip(image.loaded, image.channels, strict=True))
    ]
    if as_json:
        report.emit(
            {
                "out": str(out),
                "model": bundle.manifest()["model"],
                "config": chosen.to_dict(),
                "fingerprint": chosen.fingerprint,
                "ops": len(image.op_names),
                "head": {**mode.to_dict(), **asdict(image.head_bytes())},
                "channels": [{"file": f, "stored": s, "memory": m} for f, s, m in rows],
                "engines": [
                    {"stored": s, "memory": len(e)} for s, e in zip(image.stored, image.engines, strict=True)
                ],
            }
        )
        return 0
    report.say(
        report.table(
            ("file", "bytes", "bytes of memory with KV cache"), rows, f"{image.model.name}, {len(image.op_names)} ops"
        )
    )
    report.say(f"written to {out}")
    return 0
