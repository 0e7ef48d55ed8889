"""A compiled model: one image per memory channel, and as a folder everything that a run needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..hdl.config import Config, ConfigError
from ..hdl.isa import VERSION
from . import folder
from .bundle import Bundle
from .errors import ImageError, UserError
from .head_mode import HeadMode
from .layout import interleave, separate
from .lmhead.traffic import Traffic, row_bytes
from .quantised import QuantisedModel

KIND = "image"
BASIS, CODEBOOKS, INDICES = COARSE = ("coarse.basis", "coarse.codebooks", "coarse.indices")
"""regions of the coarse head"""


@dataclass(frozen=True, kw_only=True)
class Region:
    """a named part of an image"""

    name: str
    offset: int
    size: int
    format: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """What `compile_model` makes. All lists but `channels` have one entry per engine."""

    config: Config
    model: QuantisedModel
    """what was compiled, cut to the compiled context"""
    head: HeadMode
    """how the program gets logits"""
    engines: list[bytes]
    """whole images; what lies behind `stored` is working area (zeros here, anything in hardware)"""
    stored: list[int]
    """bytes that have to be loaded"""
    regions: list[list[Region]]
    program: int
    """offset of the program in every image"""
    op_names: list[str]
    """what each op of the program is for"""

    @cached_property
    def channels(self) -> list[bytes]:
        """what each memory holds: an image, or those of the engines that share it, page by page in turn"""
        return interleave(self.config, self.engines)

    @property
    def loaded(self) -> list[bytes]:
        """the beginning of each memory: what a compiled folder stores of it"""
        return interleave(self.config, [e[:n] for e, n in zip(self.engines, self.stored, strict=True)])

    def region(self, engine: int, name: str) -> Region:
        """a region by name; raises `KeyError`"""
        return {r.name: r for r in self.regions[engine]}[name]

    def head_bytes(self) -> Traffic:
        """what the LM head reads from the memories of all engines; the program does not count"""
        table = "embedding" if self.model.head is None else "head"
        full, coarse = (
            sum(r.size for regions in self.regions for r in regions if r.name in names) for names in ((table,), COARSE)
        )
        if not self.head.coarse:
            return Traffic(static=full, row=0, full=full)
        head = self.model.lm_head
        return Traffic(static=coarse, row=row_bytes(head.weight.shape[1], head.planes, self.config.lanes), full=full)

    def logits_area(self) -> list[tuple[int, int, int]]:
        """per engine (offset, bytes between tokens, vocabulary rows) of the stored logits; shards are in order"""
        areas, first = [], 0
        for engine in range(self.config.engines):
            region = self.region(engine, "logits")
            stride = region.size // self.config.pods
            rows = min(stride // 4, self.model.vocab - first)
            areas.append((region.offset, stride, rows))
            first += rows
        return areas

    def save(self, path: Path, bundle: Bundle) -> None:
        """Write the folder `path`, all or nothing; `bundle` gives the text side. Raises `ToolError`."""
        text = Bundle(
            model=self.model,
            tokenizer=bundle.tokenizer,
            bos_token=bundle.bos_token,
            eos_token=bundle.eos_token,
            tokenizer_files=bundle.tokenizer_files,
        )

        loaded = self.loaded

        def fill(target: Path) -> None:
            for c, content in enumerate(loaded):
                (target / channel_file(c)).write_bytes(content)
            self.config.save(target / "config.json")
            text.fill(target)

        manifest = {
            **text.manifest(),
            "config": self.config.to_dict(),
            "fingerprint": self.config.fingerprint,
            "isa_version": VERSION,
            "head": self.head.to_dict(),
            "program": self.program,
            "ops": self.op_names,
            "channels": [
                {"file": channel_file(c), "stored": len(content), "memory": len(whole)}
                for c, (content, whole) in enumerate(zip(loaded, self.channels, strict=True))
            ],
            "engines": [
                {"stored": s, "memory": len(e), "regions": [asdict(r) for r in regions]}
                for e, s, regions in zip(self.engines, self.stored, self.regions, strict=True)
            ],
        }
        folder.write(path, KIND, manifest, fill)

    def require(self, config: Config) -> None:
        """Raises `ImageError` unless the image runs on `config` (name, clock and memory interface may differ)."""
        if config.fingerprint != self.config.fingerprint:
            what = f"the image was compiled for {describe(self.config)}, not for {describe(config)}"
            raise ImageError(f"{what}: compile the model again")


def channel_file(channel: int) -> str:
    """in a compiled folder"""
    return f"channel{channel:02d}.bin"


def describe(config: Config) -> str:
    """a configuration in few words"""
    return (
        f"{config.name} ({config.engines} engines × {config.lanes} lanes × {config.pods} pods, "
        f"fingerprint {config.fingerprint:08x})"
    )


def load_image(path: Path) -> tuple[Image, Bundle]:
    """Read a compiled folder; raises `ImageError`, one line, if it is damaged or of another program version."""
    manifest = folder.read(path, KIND)
    bundle = Bundle.read(path, manifest)
    try:
        return _rebuild(path, manifest, bundle), bundle
    except OSError as e:
        raise ImageError(f"cannot read {e.filename or path}: {e.strerror}") from e
    except ImageError:
        raise
    except (KeyError, TypeError, AttributeError, ConfigError, UserError) as e:
        raise folder.damaged(path / folder.MANIFEST, f"{type(e).__name__}: {e}") from e


def _rebuild(path: Path, manifest: dict[str, Any], bundle: Bundle) -> Image:
    if manifest["isa_version"] != VERSION:
        what = f"{path} has program version {manifest['isa_version']}, this release runs {VERSION}"
        raise ImageError(f"{what}: compile the model again")
    config = Config.from_dict(manifest["config"])
    shape = config.fingerprint, config.channels, config.engines
    if shape != (manifest["fingerprint"], len(manifest["channels"]), len(manifest["engines"])):
        raise folder.damaged(path / folder.MANIFEST, "its configuration does not fit its fingerprint")
    loaded = []
    for entry in manifest["channels"]:
        data = (path / entry["file"]).read_bytes()
        if len(data) != entry["stored"]:
            raise folder.damaged(path / entry["file"], f"it has {len(data)} bytes instead of {entry['stored']}")
        loaded.append(data)
    engines = [
        data[: entry["stored"]] + bytes(entry["memory"] - entry["stored"])
        for data, entry in zip(separate(config, loaded), manifest["engines"], strict=True)
    ]
    return Image(
        config=config,
        model=bundle.model,
        head=HeadMode(**manifest["head"]),
        engines=engines,
        stored=[e["stored"] for e in manifest["engines"]],
        regions=[[Region(**r) for r in e["regions"]] for e in manifest["engines"]],
        program=manifest["program"],
        op_names=list(manifest["ops"]),
    )
