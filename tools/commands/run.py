"""`lpu run`"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .. import report
from ..backend import Backend
from ..compiler import compile_model
from ..errors import UserError
from ..image import Image
from ..library import open_model, prepare
from ..native import NativeSimulation
from ..runtime import (
    Checked,
    Decoder,
    DeviceDecoder,
    FloatDecoder,
    GoldenDecoder,
    Usage,
    check_lengths,
    encode_prompt,
    generate,
)
from ..sampling import Sampler
from ..tuning import tune
from ..uart import BAUD, SerialPort, Uart
from .options import Calibration, Context, Head, Json, Machine, Mode, Model, SimulatedMemory


class Engine(StrEnum):
    """what runs the model"""

    rtl = "rtl"
    uart = "uart"
    golden = "golden"
    float = "float"


def command(
    model: Model = None,
    *,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "Once upon a time",
    tokens: Annotated[int, typer.Option(metavar="N", help="New tokens at most.")] = 64,
    backend: Annotated[
        Engine,
        typer.Option(help="The RTL in simulation, a board on a serial line, the integer model, or floating point."),
    ] = Engine.rtl,
    port: Annotated[Path | None, typer.Option(metavar="DEVICE", help="Serial port of --backend uart.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run the golden model alongside and compare every token, logit and list.")
    ] = False,
    temperature: Annotated[float, typer.Option(metavar="T", help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Choose among the likeliest tokens that together have this chance.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the choice of tokens and of the random stalls.")] = 0,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Go on after the model ends its text.")] = False,
    loop: Annotated[
        bool | None,
        typer.Option(help="Feed tokens back on the device, not by the host (default: greedy on the RTL, no --check)."),
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option("--tune", help="Compile the simulator once more with what it does in a pass: takes minutes, once "
                     "for each machine, and makes long runs shorter."),
    ] = False,
    calibration: Calibration,
    context: Context = None,
    head: Head,
    machine: Machine,
    memory: SimulatedMemory,
    as_json: Json = False,
) -> int:
    """Generate text; by default on the RTL in native simulation, with the model that ships with the project.

    The first run calibrates the model and builds the simulator; both are kept in a cache. With `--check` the exit code
    is 1 when a bit differs. The memory behind the ports changes cycles, never bits; so do engines, lanes and pods.
    With a coarse LM head, or with `--k`, sampling draws from the k best exact logits instead of from all.
    The likeliest token is fed back by the RTL itself; with `--check` the host does that, to compare all logits after
    each token, or with `--check --loop` the RTL, and tokens and their logits are compared. Ctrl-C ends the text early.

        lpu run --prompt "Once upon a time" --tokens 64 --check
        lpu run path/to/gpt2 --engines 4 --lanes 16 --pods 4 --temperature 0.8 --top-p 0.9 --seed 7
        lpu run path/to/stories260K --backend golden --json
        lpu run --lm-head certified --margin provable --check --loop
        lpu run --preset kv260 --memory ddr4
        lpu run path/to/distilgpt2 --preset kv260 --tune
        lpu run ulx3s/model --backend uart --port /dev/ttyUSB0
    """
    sampler = Sampler(temperature, top_p, seed)
    if check and backend is Engine.float:
        raise UserError(
            "--check compares bit by bit with the golden model, which floats cannot equal: use --backend rtl or golden"
        )
    if backend is Engine.float and head.lm_head not in (None, Mode.full):
        raise UserError(f"--lm-head {head.lm_head.value} is a search among integers: use --backend rtl or golden")
    if (backend is Engine.uart) != (port is not None):
        raise UserError("--backend uart and --port DEVICE go together: a board is at the end of a serial line")
    behind = memory.choose()
    on_machine = backend in (Engine.rtl, Engine.uart)
    if tuned and backend is not Engine.rtl:
        raise UserError("--tune compiles the simulator of the RTL: use --backend rtl")
    able = sampler.greedy and on_machine
    if loop and not able:
        raise UserError("--loop feeds back the likeliest token on the device: use --backend rtl or uart, and "
                        "--temperature 0")
    looped = able and not check if loop is None else loop
    opened = open_model(model)
    chosen = machine.choose(opened.image.config if opened.image else None)
    if opened.image is not None:
        opened.image.require(chosen)
    mode = head.choose(chosen.limits, opened.image.head if opened.image else None)
    tokenizer = opened.tokenizer
    positions = opened.positions(context)
    ids = encode_prompt(tokenizer, prompt)
    check_lengths(ids, tokens, positions, opened.shape.vocab)

    decoder: Decoder
    device: DeviceDecoder | None = None
    native: NativeSimulation | None = None
    image: Image | None = None
    with report.progress() as progress:
        if backend is Engine.float:
            decoder = FloatDecoder(opened.require_source("--backend float"), mode.k)
        else:
            recipe = calibration.recipe(head.miss_rate)
            bundle = prepare(opened, chosen, recipe, mode, context=positions, progress=progress)
            image = opened.image or compile_model(bundle.model, chosen, context=positions, head=mode)
            if on_machine:
                behind_it: Backend
                if port is not None:
                    behind_it = Uart(SerialPort(port, BAUD), chosen)
                    progress(f"loading {opened.name} over {port}", 0.0)
                else:
                    if tuned:
                        tune(image)
                    sizes = [len(c) for c in image.channels]
                    behind_it = native = NativeSimulation(chosen, sizes, memory=behind, stall=memory.stall, seed=seed)
                decoder = device = DeviceDecoder(image, behind_it)
            else:
                decoder = GoldenDecoder(bundle.model, chosen.pods, mode)
            if check:
                text = lambda token: f"{token} ({tokenizer.decode([token])!r})"  # noqa: E731
                decoder = Checked(decoder, bundle.model, text, mode)

    stream = tokenizer.decode_stream(ids)
    decode = Usage(chosen.engines) if device is not None else None
    count = 0

    def write(piece: str) -> None:
        if not as_json:
            sys.stdout.write(piece)
            sys.stdout.flush()

    def on_token(token: int) -> None:
        nonlocal count
        count += 1
        if device is not None and decode is not None and count > 1 and not looped:
            decode.merge(device.last)
        write(stream.push(token))

    write(tokenizer.decode(ids))
    result = generate(
        decoder,
        ids,
        tokens,
        sampler=sampler,
        listed=mode.coarse or head.k is not None,
        eos=None if ignore_eos else opened.eos_token,
        looped=looped,
        on_token=on_token,
    )
    if looped and device is not None:
        decode = device.last
    write(stream.finish() + "\n\n")

    checked = decoder if isinstance(decoder, Checked) else None
    bit_exact = None if checked is None else checked.difference is None
    usage = None if device is None else device.usage
    agreement = None if checked is None else checked.agreement
    used = None if image is None else report.head(mode, image.head_bytes(), result.head_passes, agreement)
    moved = None if native is None else report.memory(native.memory, native.memory_statistics)
    if as_json:
        report.emit(
            {
                "text": tokenizer.decode([*ids, *result.tokens]),
                "continuation": tokenizer.decode(result.tokens),
                "token_ids": result.tokens,
                "prompt_ids": ids,
                "prompt_tokens": len(ids),
                "tokens": len(result.tokens),
                "stopped": result.stopped,
                "cycles": usage and usage.cycles,
                "cycles_per_token": usage and report.cycles_per_token(usage, decode, len(result.tokens)),
                "beat_utilisation": usage and usage.beat_utilisation,
                "stalls": usage and usage.stall_shares(),
                "op_cycles": usage and usage.op_cycles,
                "passes": usage and usage.passes,
                "loop": looped,
                "idle_cycles_per_token": decode.idle / decode.passes if decode and decode.passes else None,
                "memory": moved,
                "head": used,
                "bit_exact": bit_exact,
                "difference": checked and checked.difference,
                "logits_compared": checked and checked.logits_compared,
                "saturated": device and device.saturated,
                "seconds": result.seconds,
                "seconds_per_token": result.seconds / max(len(result.tokens), 1),
                "first_token_seconds": result.first_token_seconds,
                "backend": backend.value,
                "temperature": temperature,
                "top_p": top_p,
                "seed": seed,
                "config": chosen.to_dict(),
                "model": {
                    "name": opened.shape.name,
                    "path": str(opened.path),
                    "context": positions,
                    "vocab": opened.shape.vocab,
                },
            }
        )
    else:
        compared = checked.logits_compared if checked else 0
        report.say(*report.summary(result, usage, decode, moved, used, bit_exact, compared, looped))
    if checked is not None and checked.difference is not None:
        report.errors.print(f"lpu: not bit-exact: {checked.difference}", markup=False)
        return 1
    return 130 if result.stopped == "interrupt" else 0
