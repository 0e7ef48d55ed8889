"""How a run gets logits: from the whole vocabulary, or from the rows that the coarse head picks (`docs/lm_head.md`)."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..hdl.config import Limits
from .errors import CapacityError, ModelError, UserError
from .quantised import CoarseHead, Margin, QuantisedModel, Table

MODES = ("full", "coarse", "certified")
MARGINS = ("provable", "calibrated")


@dataclass(frozen=True)
class HeadMode:
    """What `--lm-head`, `--margin` and `--k` say. Raises `UserError` for what cannot be, in one line."""

    mode: str = "full"
    """full: all rows; coarse: the `k` rows with the best coarse scores; certified: also all rows within the margin"""
    margin: str = "provable"
    """which margin of the model's coarse head, if certified"""
    k: int = 16
    """candidates of the coarse head, and best logits for the host"""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"the LM head has no mode {self.mode!r}: take one of {', '.join(MODES)}")
        if self.margin not in MARGINS:
            raise UserError(f"the LM head has no margin {self.margin!r}: take one of {', '.join(MARGINS)}")
        if self.k < 1:
            raise UserError(f"k = {self.k} is below 1: the LM head needs at least one candidate")

    @property
    def coarse(self) -> bool:
        """whether the codebooks are used"""
        return self.mode != "full"

    @property
    def certified(self) -> bool:
        """whether margins decide what is read"""
        return self.mode == "certified"

    def margin_of(self, head: CoarseHead) -> Margin | None:
        """the margin that a search with `head` uses; None unless certified"""
        if not self.certified:
            return None
        return head.provable if self.margin == "provable" else head.calibrated

    def best(self, limits: Limits) -> int:
        """Entries of a token's result list on a machine of these limits: `k`, in full mode no more than it can keep.

        Raises `CapacityError` when it cannot keep `k` candidates.
        """
        if self.coarse and self.k > limits.max_candidates:
            raise CapacityError(
                f"k = {self.k} is above limits.max_candidates = {limits.max_candidates}, what the sorter holds: take a "
                f"smaller --k, or raise it with --set limits.max_candidates={self.k}"
            )
        return min(self.k, limits.max_candidates)

    def head_of(self, model: QuantisedModel) -> CoarseHead:
        """The coarse head of `model`; raises `ModelError` when it has none, or one that was fitted for another."""
        head = model.coarse
        if head is None:
            raise ModelError(f"model {model.name} has no codebooks for --lm-head {self.mode}: fit them with lpu lmhead")
        shapes = (
            head.basis.weight.shape == (head.tiles * head.dims, model.hidden),
            head.indices.shape == (model.vocab, head.tiles),
            head.bias.shape == head.radius.shape == (model.vocab,),
            head.entries in (16, 256),
            int(head.indices.max(initial=0)) < head.entries,
        )
        if not all(shapes) or head.fitted_for != fitted_for(model.lm_head):
            raise ModelError(f"the codebooks of model {model.name} were fitted for another model: "
                             "fit them again with lpu lmhead")
        return head

    def to_dict(self) -> dict[str, Any]:
        """plain dictionary, for JSON"""
        return asdict(self)


def fitted_for(table: Table) -> str:
    """what `CoarseHead.fitted_for` is for codebooks of this LM head: a digest of its integers"""
    digest = hashlib.sha256(f"{table.weight.shape}".encode())
    for values, form in ((table.weight, f"<i{table.planes}"), (table.m, "<u2"), (table.s, "u1")):
        digest.update(np.ascontiguousarray(values, form).data)
    return digest.hexdigest()[:16]
