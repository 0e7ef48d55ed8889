"""One fixed-point model from observed ranges and chosen widths: every format, channel scale and requantiser.

A node's *unit* is the real value of its integer 1: a power of two, divided by a channel scale where one is folded into
the parameters on both sides of the node.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from ..hdl.config import Numerics
from ..sim.golden.fixed import scale_to_ms
from ..sim.golden.osu import OUT_FRAC, SCORE_FRAC
from ..sim.golden.sfu import ROPE_FRAC
from ..sim.golden.tables import activation_table
from ..sim.reference import activate
from .errors import CalibrationError
from .model import FloatLayer, FloatLinear, FloatModel, FloatNorm
from .quantise import F64, cache_steps, fraction_bits, linear, norm, positions, records, vocabulary
from .quantised import Layer, Linear, Norm, QuantisedModel, Table
from .ranges import Ranges

HEADROOM = 1.25
"""room above the observed peak in 16-bit nodes"""
RESIDUAL_HEADROOM = 2.0
_FLAT = {"gelu_tanh": 5.0, "gelu": 5.0, "silu": 14.0, "relu": 0.0}
"""how far below zero an activation function is not yet zero"""
Scale = F64 | np.float64 | float
"""one number, or one an element"""
LINEARS = ("query", "key", "value", "projection", "up", "down")


@dataclass
class Widths:
    """Bytes of each thing that can have one or two."""

    kv: list[int]
    """cache bytes, per layer"""
    weights: dict[str, int] = field(default_factory=dict)
    """weight bytes by name `layer.{i}.{query,key,value,projection,up,down}`, 1 where absent"""


@dataclass
class Assembled:
    """A fixed-point model and what its integers mean."""

    model: QuantisedModel
    units: dict[str, Scale]
    """real value of 1 for every node of `sim.golden.model`"""


class Assembler:
    """Builds fixed-point models of one float model; what does not depend on the widths is made only once."""

    def __init__(self, model: FloatModel, ranges: Ranges, numerics: Numerics) -> None:
        self.model, self.ranges, self.numerics = model, ranges, numerics
        self.widths = Widths([])
        self.units: dict[str, Scale] = {}
        self.residual_frac = self._residual_frac()
        self._linears: dict[tuple[str, int, int], Linear] = {}
        self._steps: dict[str, F64] = {}
        self._tables = self._vocabulary()

    def build(self, widths: Widths) -> Assembled:
        """Choose formats for `widths` and quantise; raises `CalibrationError` if something does not fit the formats."""
        f = self.model
        self.widths, self.units = widths, {}
        layers = [self._layer(i, layer) for i, layer in enumerate(f.layers)]
        final, _ = self._norm("final_norm", f.final_norm)
        embedding, head, logit_frac = self._tables
        self.units["logits"] = 2.0**-logit_frac
        self.units["residual"] = 2.0**-self.residual_frac
        quantised = QuantisedModel(
            name=f.name, centred=f.final_norm.beta is not None, gated=f.layers[0].gate is not None, hidden=f.hidden,
            heads=f.heads, kv_heads=f.kv_heads, head_dim=f.head_dim, ffn=f.ffn, vocab=f.vocab, context=f.context,
            residual_frac=self.residual_frac, logit_frac=logit_frac, embedding=embedding, position=self._positions(),
            rope=self._rope(), layers=layers, final_norm=final, head=head, numerics=dataclasses.asdict(self.numerics))
        return Assembled(quantised, self.units)

    def _vocabulary(self) -> tuple[Table, Table | None, int]:
        """embedding, LM head unless it is the same, fraction bits of the logits"""
        f, r = self.model, self.ranges
        logit_frac = fraction_bits(2 * r.peak("logits"), 32, 20)
        shift = logit_frac - self._norm_frac("final_norm", f.final_norm)
        tied = f.head is None
        embedding = vocabulary(f.embedding.astype(np.float64), power=np.ones(f.hidden), moments=None,
                               unit=2.0 ** (shift if tied else self.residual_frac),
                               embed_shift=shift - self.residual_frac if tied else 0, what="the vocabulary table")
        if f.head is None:
            return embedding, None, logit_frac
        head = vocabulary(f.head.astype(np.float64), power=r.power("final_norm"), moments=r.moments["final_norm"],
                          unit=2.0**shift, embed_shift=0, what="the LM head")
        return embedding, head, logit_frac

    def _residual_frac(self) -> int:
        f, r = self.model, self.ranges
        parts = [n for n in r.low if n in ("residual", "embedding", "position") or n.endswith((".projection", ".down"))]
        peak = RESIDUAL_HEADROOM * r.peak(*parts)
        norms = [f.final_norm, *(n for layer in f.layers for n in (layer.attention_norm, layer.ffn_norm))]
        eps = max(n.eps for n in norms)
        most = 22 if eps <= 0 else math.floor((47 - math.log2(eps * f.hidden**2)) / 2)
        return fraction_bits(peak, self.numerics.residual_bits, min(22, most))

    def _positions(self) -> Table | None:
        if self.model.position is None:
            return None
        return positions(self.model.position.astype(np.float64), residual_frac=self.residual_frac,
                         what="the position table")

    def _rope(self) -> tuple[np.ndarray, np.ndarray] | None:
        f = self.model
        if f.rope_inverse_frequency is None:
            return None
        angle = np.arange(f.context)[:, None] * f.rope_inverse_frequency[None].astype(np.float64)
        cos, sin = (np.rint(x * 2.0**ROPE_FRAC).astype(np.int16) for x in (np.cos(angle), np.sin(angle)))
        return cos, sin

    def _norm_frac(self, node: str, layer: FloatNorm) -> int:
        beta = 0.0 if layer.beta is None else float(np.abs(layer.beta).max())
        return fraction_bits(max(HEADROOM * self.ranges.peak(node), beta), 16)

    def _norm(self, node: str, layer: FloatNorm) -> tuple[Norm, F64]:
        """the norm, and the moments of its output integers"""
        frac = self._norm_frac(node, layer)
        self.units[node] = 2.0**-frac
        return (norm(layer, np.ones(self.model.hidden), frac=frac, residual_frac=self.residual_frac),
                self.ranges.moments[node] * 4.0**frac)

    def _linear(self, name: str, layer: FloatLinear, unit_in: Scale, out: Scale, moments: F64) -> Linear:
        """`unit_in`: real per input integer; `out`: output integers per real, one number or one a row"""
        _, index, _ = name.split(".")
        key = name, self.widths.weights.get(name, 1), self.widths.kv[int(index)]
        if key not in self._linears:
            weight = layer.weight.astype(np.float64) * unit_in * np.broadcast_to(out, len(layer.weight))[:, None]
            bias = None if layer.bias is None else layer.bias.astype(np.float64) * out
            self._linears[key] = linear(weight, bias, planes=key[1], moments=moments, what=name)
        return self._linears[key]

    def _layer(self, i: int, layer: FloatLayer) -> Layer:
        f, r, at = self.model, self.ranges, f"layer.{i}."
        attention_norm, seen = self._norm(at + "attention_norm", layer.attention_norm)
        unit = self.units[at + "attention_norm"]
        planes = self.widths.kv[i]
        key_step, value_step = self._key_step(at, planes), self._value_step(at, planes)
        group = f.heads // f.kv_heads
        # queries carry the inverse of the key steps, and one factor that fills their 16 bits
        spread = np.repeat(key_step.reshape(f.kv_heads, -1), group, axis=0).reshape(-1)
        fill = 32767 / (HEADROOM * float((self._rotated_peak(at + "query") * spread).max()))
        score_m, score_s = scale_to_ms(math.log2(math.e) / math.sqrt(f.head_dim) * 2.0**SCORE_FRAC / fill)
        query = self._linear(at + "query", layer.query, unit, spread * fill, seen)
        key = self._linear(at + "key", layer.key, unit, 256 / key_step, seen)
        value = self._linear(at + "value", layer.value, unit, 256 / value_step, seen)
        self.units[at + "query"] = 1 / (spread * fill)
        self.units[at + "key"], self.units[at + "value"] = key_step / 256**(planes - 1), value_step / 256**(planes - 1)

        heads = np.repeat(value_step.reshape(f.kv_heads, -1), group, axis=0).reshape(-1)
        gathered = 2.0 ** -fraction_bits(HEADROOM * r.peak(at + "attention"), 16)
        self.units[at + "attention"] = gathered
        output_m, output_s = records(heads * 2.0**-OUT_FRAC / gathered, at + "attention")
        residual = 2.0**self.residual_frac
        self.units[at + "projection"] = self.units[at + "down"] = 1 / residual
        projection = self._linear(at + "projection", layer.projection, gathered, residual,
                                  r.moments[at + "attention"] / gathered**2)
        ffn_norm, seen = self._norm(at + "ffn_norm", layer.ffn_norm)
        up, table, gate_shift = self._up(at, layer, seen)
        hidden = self.units[at + "hidden"]
        down = self._linear(at + "down", layer.down, hidden, residual, r.moments[at + "hidden"] / hidden**2)
        return Layer(attention_norm=attention_norm, query=query, key=key, value=value, kv_planes=planes,
                     score_m=score_m, score_s=score_s, output_m=output_m, output_s=output_s, projection=projection,
                     ffn_norm=ffn_norm, up=up, gate_shift=gate_shift, table=table, down=down)

    def _rotated_peak(self, node: str) -> F64:
        """largest magnitude an element can have before or after RoPE"""
        raw = self.ranges.channel[node + "_raw"]
        if self.model.rope_inverse_frequency is None:
            return raw
        return np.repeat(np.hypot(raw[0::2], raw[1::2]), 2)

    def _key_step(self, at: str, planes: int) -> F64:
        """cache steps of the key channels, equal within a RoPE pair"""
        if planes == 2:
            return np.maximum(HEADROOM * self._rotated_peak(at + "key") / 127, 1e-9)
        return self._cache_step(at + "key", 1 if self.model.rope_inverse_frequency is None else 2)

    def _value_step(self, at: str, planes: int) -> F64:
        if planes == 2:
            return np.maximum(HEADROOM * self.ranges.channel[at + "value"] / 127, 1e-9)
        return self._cache_step(at + "value", 1)

    def _cache_step(self, node: str, width: int) -> F64:
        """INT8 steps; groups of `width` adjacent channels share one"""
        if node not in self._steps:
            samples = self.ranges.cached[node]
            self._steps[node] = np.repeat(cache_steps(samples.reshape(len(samples), -1, width)), width)
        return self._steps[node]

    def _up(self, at: str, layer: FloatLayer, seen: F64) -> tuple[Linear, tuple[np.ndarray, np.ndarray], int]:
        """first matrix of the feed-forward block, activation table, gate shift; sets the units of the block's nodes"""
        f, r = self.model, self.ranges
        unit, inner = self.units[at + "ffn_norm"], at + ("up" if layer.gate is None else "gate")
        reach = max(r.high[inner], min(-r.low[inner], _FLAT[f.activation]))
        in_frac = fraction_bits(HEADROOM * reach, 16, 15)
        self.units[inner] = 2.0**-in_frac
        hidden_frac = fraction_bits(HEADROOM * r.peak(at + "hidden"), 16)
        out: Scale = 2.0**in_frac
        if layer.gate is None:
            out_frac, gate_shift, merged = hidden_frac, 0, layer.up
        else:
            out_frac = fraction_bits(HEADROOM * r.peak(at + "activation"), 16)
            up_frac = fraction_bits(HEADROOM * r.peak(at + "up"), 16)
            hidden_frac = min(hidden_frac, out_frac + up_frac)
            gate_shift = out_frac + up_frac - hidden_frac
            self.units[at + "up"] = 2.0**-up_frac
            out = np.tile([2.0**in_frac, 2.0**up_frac], f.ffn)
            merged = _interleave(layer.gate, layer.up)
            if gate_shift > 31:
                raise CalibrationError(f"{at}gate and {at}up would need a shift of {gate_shift}, above 31; "
                                       "the model's feed-forward layer is out of proportion")
        self.units[at + "hidden"] = 2.0**-hidden_frac
        table = activation_table(lambda x: activate(f.activation, x), self.numerics.table_bits, in_frac, out_frac)
        base, step = (x.astype(np.int16) for x in table)
        return self._linear(at + "up", merged, unit, out, seen), (base, step), gate_shift


def _interleave(gate: FloatLinear, up: FloatLinear) -> FloatLinear:
    """rows gate 0, up 0, gate 1, up 1 …"""
    weight = np.stack([gate.weight, up.weight], axis=1).reshape(-1, gate.weight.shape[1])
    if gate.bias is None and up.bias is None:
        return FloatLinear(weight=weight)
    zeros = np.zeros(len(gate.weight), np.float32)
    biases = [zeros if x.bias is None else x.bias for x in (gate, up)]
    return FloatLinear(weight=weight, bias=np.stack(biases, axis=1).reshape(-1))
