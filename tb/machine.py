"""A compiled model on the native simulation of the RTL, held word for word to the interpreter of its program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lpu.hdl.config import Config
from lpu.sim.golden.program import Exchange, Machine, first_difference
from lpu.tools.backend import Device, NativeSimulation
from lpu.tools.compiler import compile_model
from lpu.tools.quantised import QuantisedModel


class Comparison:
    """RTL and interpreter with the same image, run in step."""

    def __init__(
        self,
        model: QuantisedModel,
        config: Config,
        *,
        latency: int | tuple[int, int] = 20,
        stall: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.config = config
        self.image = compile_model(model, config)
        self.backend = NativeSimulation(config, [len(c) for c in self.image.channels], latency=latency, stall=stall,
                                        seed=seed, debug=True, quiet=True)
        self.device = Device(self.backend, config, watchdog=100_000)
        self.device.load_image(self.image.channels, program=self.image.program)
        self.machine = Machine(config, self.image.channels, self.image.program, self.image.stored)
        self.checks = 0

    def run(self, tokens: Sequence[int], base: int, *, head: bool = True, masks: Sequence[int] | None = None,
            positions: Sequence[int] | None = None) -> None:
        """one pass; raises `AssertionError` with the first op that differs"""
        expected: list[Exchange] = []
        count = len(tokens)
        mask = None if masks is None else np.array([[m >> j & 1 for j in range(count)] for m in masks], bool)
        positions = list(range(base, base + count)) if positions is None else positions
        logits = self.machine.run(tokens, base=base, positions=positions, mask=mask, head=head, observe=expected.append)
        self.backend.trace_exchange()
        failure = None
        try:
            result = self.device.run_pass(tokens, positions, base, masks, head=head, logits=head, limit=20_000_000)
        except Exception as e:
            failure = e
        trace = self.backend.exchange_trace()
        words = zip(trace["residual"], trace["index"], trace["pods"], trace["data"].tolist(), strict=True)
        difference = first_difference(expected, words, self.image.op_names, count)
        assert difference is None, f"{difference} ({failure})"
        if failure is not None:
            raise failure
        self.checks += len(trace["index"])
        if head:
            areas = self.image.logits_area()
            found = np.concatenate(
                [self.device.read_logits(e, *area[:2], count, area[2]) for e, area in enumerate(areas)], axis=1
            )
            np.testing.assert_array_equal(found, logits)
            assert result.tokens == logits.argmax(axis=1).tolist()
            assert result.logits == logits.max(axis=1).tolist()
            self.checks += found.size
