"""A compiled model on the native simulation of the RTL, held word for word to the interpreter of its program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from lpu.hdl.config import Config
from lpu.hdl.registers import Counter, LoopEnd
from lpu.sim.golden.loop import Loop, Pass
from lpu.sim.golden.program import Exchange, Machine, first_difference
from lpu.sim.verilator.memory import MemoryModel
from lpu.tools.backend import Device
from lpu.tools.compiler import compile_model
from lpu.tools.head_mode import HeadMode
from lpu.tools.image import Image
from lpu.tools.layout import separate
from lpu.tools.native import NativeSimulation
from lpu.tools.quantised import QuantisedModel


class Comparison:
    """RTL and interpreter with the same image, run in step."""

    def __init__(
        self,
        model: QuantisedModel,
        config: Config,
        *,
        latency: int | tuple[int, int] | None = 20,
        stall: float = 0.0,
        seed: int = 0,
        memory: MemoryModel | None = None,
        head: HeadMode | None = None,
    ) -> None:
        """head: how the program gets logits, in full mode if None"""
        self.model, self.config = model, config
        self.image = compile_model(model, config, head=head or HeadMode())
        self.backend = NativeSimulation(config, [len(c) for c in self.image.channels], memory=memory, latency=latency,
                                        stall=stall, seed=seed, debug=True, quiet=True)
        self.device = Device(self.backend, config, watchdog=100_000)
        self.load(self.image)
        self.checks = 0
        self.scanned = 0
        """rows that FINE read beyond the candidates"""

    def check_stored(self) -> None:
        """what was loaded is still there, for each engine"""
        memories = [self.backend.read_memory(c, 0, len(m)) for c, m in enumerate(self.image.channels)]
        for engine, found in enumerate(separate(self.config, memories)):
            stored = self.image.stored[engine]
            assert found[:stored] == self.image.engines[engine][:stored], f"the image of engine {engine} was changed"
            self.checks += 1

    def load(self, image: Image) -> None:
        """another image, not larger than the first one"""
        self.image = image
        self.device.load_image(image.channels, program=image.program)
        self.machine = Machine(self.config, image.engines, image.program, image.stored)

    def run(self, tokens: Sequence[int], base: int, *, head: bool = True, masks: Sequence[int] | None = None,
            positions: Sequence[int] | None = None) -> None:
        """One pass; raises `AssertionError` with the first op that differs. Logits, lists and numbers of rows read are
        compared after it."""
        expected: list[Exchange] = []
        count = len(tokens)
        mask = None if masks is None else np.array([[m >> j & 1 for j in range(count)] for m in masks], bool)
        positions = list(range(base, base + count)) if positions is None else positions
        mode = self.image.head
        best, stored = mode.best(self.config.limits), head and not mode.coarse
        logits = self.machine.run(tokens, base=base, positions=positions, mask=mask, head=head, observe=expected.append)
        self.backend.trace_exchange()
        failure = None
        try:
            result = self.device.run_pass(tokens, positions, base, masks, head=head, logits=stored, best=best,
                                          limit=20_000_000)
        except Exception as e:
            failure = e
        words = self._words()
        difference = first_difference(expected, words, self.image.op_names)
        assert difference is None, f"{difference} ({failure})"
        if failure is not None:
            raise failure
        if head:
            expected_lists = [([i for i, _ in entries], [v for _, v in entries]) for entries in self.machine.results]
            assert result.lists == expected_lists
            self.checks += sum(len(entries) for entries in self.machine.results)
        read = sum(self.device.read_counter(e, Counter.FINE_ROWS) for e in range(self.config.engines))
        rows = sum(len(r) for r in self.machine.rows)
        assert read == rows, f"FINE read {read} rows, golden {rows}"
        if head and mode.coarse:
            self.scanned += rows - count * min(best, self.image.model.vocab)
        if stored:
            areas = self.image.logits_area()
            found = np.concatenate(
                [self.device.read_logits(e, *area[:2], count, area[2]) for e, area in enumerate(areas)], axis=1
            )
            np.testing.assert_array_equal(found, logits)
            self.checks += found.size

    def loop(self, tokens: Sequence[int], base: int, count: int, *, eos: Sequence[int] = (), context: int | None = None,
             stop: int | None = None) -> LoopEnd:
        """One loop; raises `AssertionError` with the first op of the first of its passes that differs, or for tokens,
        logits, an end or counters that are not the twin's. stop: the host asks for the end after so many tokens; the
        pass that runs by then is the last."""
        context = self.image.model.context if context is None else context
        positions = list(range(base, base + len(tokens)))
        masks = [(2 << t) - 1 for t in range(len(tokens))]
        heard: list[tuple[int, int]] = []

        def on_token(token: int, logit: int) -> bool:
            heard.append((token, logit))
            return len(heard) != stop

        self.backend.trace_exchange()
        result = self.device.run_loop(tokens, positions, base, masks, count=count, context=context, eos=eos,
                                      on_token=on_token, limit=20_000_000)
        words, rows = self._words(), 0
        twin = Loop(Pass(tokens, positions, masks, base), count, context, eos)
        while not twin.end:
            now, expected = twin.now, list[Exchange]()
            mask = np.array([[m >> j & 1 for j in range(len(now.tokens))] for m in now.masks], bool)
            self.machine.run(now.tokens, base=now.base, positions=now.positions, mask=mask, head=True,
                             observe=expected.append)
            difference = first_difference(expected, words, self.image.op_names)
            assert difference is None, f"pass {len(twin.made)} of the loop: {difference}"
            rows += sum(len(r) for r in self.machine.rows)
            made = len(twin.made) + 1
            twin.done(self.machine.results[-1][0], stop=stop is not None and made == len(result.tokens) and made > stop)
        assert list(zip(result.tokens, result.logits, strict=True)) == twin.made
        assert heard == twin.made[:stop]
        assert result.end is twin.end
        assert next(words, None) is None, "words on the exchange after the last pass"
        counters = self.device.read_counters()
        assert sum(c["fine_rows"] for c in counters) == rows
        made, idle = self.device.read_loop()
        assert made == len(twin.made)
        assert 3 * made < idle < 20 * made, f"{idle} cycles between {made} passes"
        self.checks += 2 * made
        return result.end

    def _words(self) -> Iterator[tuple[int, int, int, int, int, list[int]]]:
        """what was traced on the exchange"""
        trace = self.backend.exchange_trace()
        self.checks += len(trace["index"])
        fields = ("memory", "index", "packed", "pods", "clipped", "data")
        return zip(*(trace[name].tolist() for name in fields), strict=True)
