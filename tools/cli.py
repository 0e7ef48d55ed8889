"""The `lpu` command.

Errors that a user can cause are one line on stderr and exit code 2, found before anything is written.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console

from ..hdl.config import PRESETS, Config, ConfigError, preset
from . import report
from .errors import ModelError, ToolError, UserError
from .library import Opened, Width, calibrated, open_model, prepare

app = typer.Typer(
    name="lpu",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Language models on generated hardware: import, calibrate, compile, run on the RTL, generate Verilog.

    Start with `lpu doctor`, then `lpu run`: the shipped model tells a story on the simulated RTL.""",
)


class Engine(StrEnum):
    """what runs the model"""

    rtl = "rtl"
    golden = "golden"
    float = "float"


class Bits(StrEnum):
    """bits of a weight, or of a cached key or value"""

    auto = "auto"
    int8 = "8"
    int16 = "16"

    @property
    def width(self) -> Width:
        """as `calibrate` takes it"""
        return "auto" if self is Bits.auto else cast(Width, int(self.value))


Model = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        show_default="the shipped model",
        help="Hugging Face directory (GPT2LMHeadModel, LlamaForCausalLM), llama2.c checkpoint or its folder, or a "
        "folder written by `lpu import` or `lpu compile`.",
    ),
]
RequiredModel = Annotated[Path, typer.Argument(metavar="MODEL", help="As in `lpu run`.")]
_MACHINE = "Machine"
Preset = Annotated[
    str | None, typer.Option(metavar="NAME", help="Preset (`lpu presets`), default tiny.", rich_help_panel=_MACHINE)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration as .json or .toml instead of a preset.",
        rich_help_panel=_MACHINE,
    ),
]
Engines = Annotated[
    int | None, typer.Option(metavar="N", help="Engines, each with a memory port.", rich_help_panel=_MACHINE)
]
Lanes = Annotated[int | None, typer.Option(metavar="L", help="Bytes per memory beat.", rich_help_panel=_MACHINE)]
Pods = Annotated[int | None, typer.Option(metavar="P", help="Tokens per pass.", rich_help_panel=_MACHINE)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any field of the configuration, e.g. limits.max_hidden=512; may be repeated.",
        rich_help_panel=_MACHINE,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Text (.txt, .jsonl) to calibrate on; without it the model writes one itself."),
]
KvOption = Annotated[Bits, typer.Option("--kv", help="Bits of the KV cache; auto lets calibration choose.")]
WeightsOption = Annotated[
    Bits, typer.Option("--weights", help="Bits of the weights; auto lets calibration choose for each matrix.")
]
Context = Annotated[int | None, typer.Option(metavar="N", help="Keep only the first N positions of the model.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout and nothing else.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write; a folder of other files is refused.")]


def machine(
    name: str | None,
    file: Path | None,
    engines: int | None,
    lanes: int | None,
    pods: int | None,
    settings: list[str] | None,
    base: Config | None = None,
) -> Config:
    """The configuration that the options describe, on top of `base` if they name neither preset nor file.

    Raises `ConfigError`.
    """
    if name is not None and file is not None:
        raise ConfigError("--preset and --config exclude each other: give one of them")
    start = Config.load(file) if file is not None else preset(name) if name is not None else base or preset("tiny")
    changes: dict[str, Any] = {
        k: v for k, v in (("engines", engines), ("lanes", lanes), ("pods", pods)) if v is not None
    }
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ConfigError(f"--set {setting} is not of the form KEY=VALUE, e.g. --set limits.max_hidden=512")
        try:
            changes[key.strip().replace(".", "__")] = json.loads(value)
        except ValueError:
            changes[key.strip().replace(".", "__")] = value
    return start.replace(**changes) if changes else start


def _emit(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")


def _say(*things: Any) -> None:
    console = Console(highlight=False)
    for thing in things:
        console.print(thing, markup=False) if isinstance(thing, str) else console.print(thing)


@app.command()
def run(
    model: Model = None,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "Once upon a time",
    tokens: Annotated[int, typer.Option(metavar="N", help="New tokens at most.")] = 64,
    backend: Annotated[
        Engine, typer.Option(help="The RTL in simulation, the integer golden model, or floating point.")
    ] = Engine.rtl,
    check: Annotated[
        bool, typer.Option("--check", help="Run the golden model alongside and compare every token and logit.")
    ] = False,
    temperature: Annotated[float, typer.Option(metavar="T", help="0 always takes the likeliest token.")] = 0.0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Choose among the likeliest tokens that together have this chance.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the choice of tokens and of the random stalls.")] = 0,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Go on after the model ends its text.")] = False,
    calibration: Calibration = None,
    kv: KvOption = Bits.auto,
    weights: WeightsOption = Bits.auto,
    context: Context = None,
    preset: Preset = None,
    config: ConfigFile = None,
    engines: Engines = None,
    lanes: Lanes = None,
    pods: Pods = None,
    settings: Settings = None,
    latency: Annotated[
        int, typer.Option(metavar="CYCLES", help="Of the simulated memory.", rich_help_panel=_MACHINE)
    ] = 32,
    stall: Annotated[
        float,
        typer.Option(
            metavar="CHANCE", help="Of a random pause, each cycle on each AXI channel.", rich_help_panel=_MACHINE
        ),
    ] = 0.0,
    as_json: Json = False,
) -> int:
    """Generate text; by default on the RTL in native simulation, with the model that ships with the project.

    The first run calibrates the model and builds the simulator; both are kept in a cache. With `--check` the exit code
    is 1 when a bit differs. Memory latency and stalls change cycles, never bits; so do engines, lanes and pods.

        lpu run --prompt "Once upon a time" --tokens 64 --check
        lpu run path/to/gpt2 --engines 4 --lanes 16 --pods 4 --temperature 0.8 --top-p 0.9 --seed 7
        lpu run path/to/stories260K --backend golden --json
    """
    from .runtime import (
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
    from .sampling import Sampler

    sampler = Sampler(temperature, top_p, seed)
    if check and backend is Engine.float:
        raise UserError(
            "--check compares bit by bit with the golden model, which floats cannot equal: use --backend rtl or golden"
        )
    if not 1 <= latency <= 100_000:
        raise UserError(f"latency {latency} is outside 1 to 100000 cycles")
    if not 0 <= stall < 1:
        raise UserError(f"stall {stall} is not a chance from 0 to below 1")
    opened = open_model(model)
    chosen = machine(preset, config, engines, lanes, pods, settings, opened.image.config if opened.image else None)
    if opened.image is not None:
        opened.image.require(chosen)
    tokenizer = opened.tokenizer
    positions = _positions(opened, context)
    ids = encode_prompt(tokenizer, prompt)
    check_lengths(ids, tokens, positions, opened.shape.vocab)

    decoder: Decoder
    device: DeviceDecoder | None = None
    with report.progress() as progress:
        if backend is Engine.float:
            decoder = FloatDecoder(opened.require_source("--backend float"))
        else:
            bundle = prepare(
                opened,
                chosen,
                calibration=calibration,
                kv=kv.width,
                weights=weights.width,
                context=positions,
                progress=progress,
            )
            quantised = bundle.model
            if backend is Engine.rtl:
                decoder = device = _device(opened, bundle, chosen, positions, latency, stall, seed)
            else:
                decoder = GoldenDecoder(quantised, chosen.pods)
            if check:
                decoder = Checked(decoder, quantised, lambda token: f"{token} ({tokenizer.decode([token])!r})")

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
        if device is not None and decode is not None and count > 1:
            decode.merge(device.last)
        write(stream.push(token))

    write(tokenizer.decode(ids))
    result = generate(
        decoder, ids, tokens, sampler=sampler, eos=None if ignore_eos else opened.eos_token, on_token=on_token
    )
    write(stream.finish() + "\n\n")

    checked = decoder if isinstance(decoder, Checked) else None
    bit_exact = None if checked is None else checked.difference is None
    usage = None if device is None else device.usage
    if as_json:
        _emit(
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
        _say(*report.summary(result, usage, decode, bit_exact, checked.logits_compared if checked else 0))
    if checked is not None and checked.difference is not None:
        report.errors.print(f"lpu: not bit-exact: {checked.difference}", markup=False)
        return 1
    return 0


def _positions(opened: Opened, context: int | None) -> int:
    """the context to run with"""
    most = int(opened.shape.context)
    if opened.image is not None and context not in (None, most):
        raise ModelError(f"{opened.path} was compiled for {most} positions: compile it again for --context {context}")
    if context is not None and not 1 <= context <= most:
        raise ModelError(f"context {context} is outside 1 to the model's {most} positions")
    return context or most


def _device(opened: Opened, bundle: Any, config: Config, context: int, latency: int, stall: float, seed: int) -> Any:
    """the compiled model on the simulated RTL"""
    from .backend import NativeSimulation
    from .compiler import compile_model
    from .runtime import DeviceDecoder

    image = opened.image or compile_model(bundle.model, config, context=context)
    sizes = [len(c) for c in image.channels]
    return DeviceDecoder(image, NativeSimulation(config, sizes, latency=latency, stall=stall, seed=seed))


@app.command("eval")
def evaluate_command(
    model: RequiredModel,
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text to measure on (.txt or .jsonl).")],
    tokens: Annotated[int, typer.Option(metavar="N", help="Tokens of the text to use.")] = 8192,
    window: Annotated[int | None, typer.Option(metavar="N", help="Tokens seen at once, default the context.")] = None,
    calibration: Calibration = None,
    kv: Annotated[
        Bits | None, typer.Option("--kv", help="Only this width of the KV cache instead of a row for each.")
    ] = None,
    weights: WeightsOption = Bits.auto,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Perplexity in floating point and in fixed point, and where values were clipped.

    The fixed-point numbers are those of the golden model, and so of the RTL. One row for the KV width that calibration
    chooses, one each for INT8 and INT16, so that the price of the narrow cache is seen. Calibrate on another text!

        lpu eval path/to/stories260K --text stories.txt --tokens 8000 --calibration other_stories.txt
    """
    from .evaluate import evaluate
    from .texts import encode, read_documents

    opened = open_model(model)
    source = opened.require_source("lpu eval")
    numerics = machine(None, None, None, None, None, settings).numerics
    if tokens < 2:
        raise UserError(f"{tokens} tokens are too few to measure: give at least 2 with --tokens")
    ids = encode(source, read_documents(text), tokens)
    rows: list[dict[str, Any]] = []
    with report.progress() as progress:
        for width in [kv] if kv is not None else list(Bits):

            def tell(what: str, share: float, width: Bits = width) -> None:
                progress(f"{what}, KV {width.value}", share)

            made = calibrated(
                source, numerics, calibration=calibration, kv=width.width, weights=weights.width, progress=tell
            ).model
            found = evaluate(source, made, ids, window, progress=tell)
            bits = sorted({8 * layer.kv_planes for layer in made.layers})
            rows.append({"kv": width.value, "kv_bits": bits, "report": made.report, **found})
    first = rows[0]
    if as_json:
        keys = ("kv", "kv_bits", "perplexity_fixed", "quality_drop_pct")
        _emit(
            {
                **{k: v for k, v in first.items() if k != "report"},
                "calibration": first["report"],
                "widths": [{k: r[k] for k in keys} for r in rows],
                "model": {"name": source.name, "path": str(opened.path)},
            }
        )
        return 0
    _say(f"{source.name}: {first['tokens']:,} tokens of {text}, perplexity {first['perplexity_float']:.4f} as float")
    _say(
        report.table(
            ("KV cache", "bits", "perplexity", "change"),
            [
                (
                    r["kv"],
                    "/".join(map(str, r["kv_bits"])),
                    f"{r['perplexity_fixed']:.4f}",
                    f"{r['quality_drop_pct']:+.3f} %",
                )
                for r in rows
            ],
        )
    )
    _say(
        *nodes(first["report"], "formats from calibration"),
        *nodes(first.get("nodes"), "values at the limits of their formats"),
    )
    return 0


def nodes(rows: Any, title: str) -> list[Any]:
    """a table of one dictionary a node, whatever its columns; none for none"""
    if not rows:
        return []
    columns = list(rows[0])
    return [report.table(columns, [[r.get(c) for c in columns] for r in rows], title)]


@app.command("import")
def import_command(
    model: RequiredModel,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the fixed-point model.")] = None,
    calibration: Calibration = None,
    kv: KvOption = Bits.auto,
    weights: WeightsOption = Bits.auto,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Read a published model, check it, bring it to fixed point, and show what calibration chose.

    With `--out` the fixed-point model and its tokenizer are saved as a folder for `lpu compile` and `lpu run`.

        lpu import path/to/gpt2 --calibration text.txt --out gpt2-fixed
    """
    from .bundle import KIND
    from .folder import check_target

    if out is not None:
        check_target(out, KIND)
    opened = open_model(model)
    source = opened.require_source("lpu import")
    numerics = machine(None, None, None, None, None, settings).numerics
    with report.progress() as progress:
        bundle = calibrated(
            source, numerics, calibration=calibration, kv=kv.width, weights=weights.width, progress=progress
        )
    if out is not None:
        bundle.save(out)
    shape = bundle.manifest()["model"]
    if as_json:
        _emit(
            {
                **shape,
                "family": source.family,
                "tied": source.head is None,
                "tokenizer": source.tokenizer is not None,
                "report": bundle.model.report,
                "out": None if out is None else str(out),
            }
        )
        return 0
    _say(
        f"{source.name}: {source.family}, {len(source.layers)} layers, hidden {source.hidden}, {source.heads} heads "
        f"({source.kv_heads} cached) of {source.head_dim}, feed-forward {source.ffn}, vocabulary {source.vocab}, "
        f"context {source.context}"
    )
    _say(*nodes(bundle.model.report, "formats from calibration"))
    if out is not None:
        _say(f"written to {out}")
    return 0


@app.command("compile")
def compile_command(
    model: RequiredModel,
    out: Out,
    preset: Preset = None,
    config: ConfigFile = None,
    engines: Engines = None,
    lanes: Lanes = None,
    pods: Pods = None,
    settings: Settings = None,
    calibration: Calibration = None,
    kv: KvOption = Bits.auto,
    weights: WeightsOption = Bits.auto,
    context: Context = None,
    as_json: Json = False,
) -> int:
    """Compile a model for a machine: one memory image per channel with its program, and a manifest.

    The folder holds all that `lpu run DIR` needs. The same input gives the same bytes.

        lpu compile path/to/stories260K --preset tiny --out stories-tiny
        lpu run stories-tiny
    """
    from .compiler import compile_model
    from .folder import check_target
    from .image import KIND

    check_target(out, KIND)
    chosen = machine(preset, config, engines, lanes, pods, settings)
    opened = open_model(model)
    if opened.image is not None:
        raise ModelError(f"{opened.path} is compiled already: name the model that it was made from")
    positions = _positions(opened, context)
    with report.progress() as progress:
        bundle = prepare(
            opened,
            chosen,
            calibration=calibration,
            kv=kv.width,
            weights=weights.width,
            context=positions,
            progress=progress,
        )
        image = compile_model(bundle.model, chosen, context=positions)
        image.save(out, bundle)
    rows = [
        (f"channel{e:02d}.bin", stored, len(channel))
        for e, (stored, channel) in enumerate(zip(image.stored, image.channels, strict=True))
    ]
    if as_json:
        _emit(
            {
                "out": str(out),
                "model": bundle.manifest()["model"],
                "config": chosen.to_dict(),
                "fingerprint": chosen.fingerprint,
                "ops": len(image.op_names),
                "channels": [{"file": f, "stored": s, "memory": m} for f, s, m in rows],
            }
        )
        return 0
    _say(
        report.table(
            ("file", "bytes", "bytes of memory with KV cache"), rows, f"{image.model.name}, {len(image.op_names)} ops"
        )
    )
    _say(f"written to {out}")
    return 0


@app.command("presets")
def presets_command(as_json: Json = False) -> int:
    """The machines that have a name: multipliers, on-chip memory, peak bytes per cycle, largest model."""
    if as_json:
        _emit(
            {
                name: {
                    **c.to_dict(),
                    "multipliers": c.multipliers,
                    "bytes_per_cycle": c.bytes_per_cycle,
                    "memory_bits": sum(c.memory_bits().values()),
                    "memory_bits_by_use": c.memory_bits(),
                    "fingerprint": c.fingerprint,
                }
                for name, c in PRESETS.items()
            }
        )
    else:
        _say(report.presets(PRESETS))
    return 0


@app.command("doctor")
def doctor_command(as_json: Json = False) -> int:
    """Check that this computer has what the project needs, and say how to get what is missing (exit code 1)."""
    from .doctor import diagnose, healthy

    checks = diagnose()
    if as_json:
        _emit({"ok": healthy(checks), "checks": [vars(c) for c in checks]})
    else:
        state = {c.name: "ok" if c.ok else "MISSING" if c.required else "optional" for c in checks}
        rows = [(c.name, state[c.name], c.found, c.remedy) for c in checks]
        _say(report.table(("what", "state", "found", "remedy"), rows))
    return 0 if healthy(checks) else 1


@app.command("generate")
def generate_command(
    out: Out,
    preset: Preset = None,
    config: ConfigFile = None,
    engines: Engines = None,
    lanes: Lanes = None,
    pods: Pods = None,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Write the Verilog of a configuration (top module `lpu`), its register map and a manifest.

    lpu generate --preset kv260 --out kv260-rtl
    lpu generate --engines 1 --lanes 32 --pods 2 --set limits.max_hidden=2048 --out small
    """
    from .generate import generate

    chosen = machine(preset, config, engines, lanes, pods, settings)
    with report.progress() as progress:
        progress(f"generating the Verilog of {chosen.name}", 0.0)
        files = [p.name for p in generate(chosen, out)]
    if as_json:
        _emit({"out": str(out), "files": files, "config": chosen.to_dict(), "fingerprint": chosen.fingerprint})
    else:
        _say(
            f"{chosen.engines} engines × {chosen.lanes} lanes × {chosen.pods} pods written to {out}: {', '.join(files)}"
        )
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The entry point: the exit code (0 done, 1 a check failed, 2 bad input, 130 interrupted)."""
    from .backend import DeviceError

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
