"""Program fetch: reads ops ahead through the engine's own memory port and checks them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..common.payloads import OP_BITS, OpView, read_request
from ..config import Config
from ..isa import MAGIC, OP_BYTES, VERSION, Destination, Fault, Function, Opcode


def fetched_op() -> data.StructLayout:
    """an op with its index in the program"""
    return data.StructLayout({"op": OP_BITS, "index": 32})


class Fetch(wiring.Component):
    """From `start`, reads the HEADER at offset `program`, checks it, and then streams the ops behind it, HALT included.

    Beats of the program are asked for in one go once the HEADER has told their number; the reader's program FIFO
    bounds how far that runs ahead. An op is emitted `latency` cycles after its last beat, and every 64/L cycles or
    every `interval` cycles at most. A header of another version or configuration, an unknown opcode, an impossible
    field or a HALT that is not the last op raise `fault` (sticky until reset) with the op's index; nothing is emitted
    from there on.
    """

    latency = 3
    """cycles from an op's last beat to `o`: one completes it, two check it"""
    interval = 3
    """cycles between two ops, if the beats are there: nothing that waits for `o` moves an op behind it"""

    def __init__(self, config: Config) -> None:
        self._c = config
        super().__init__({
            "start": In(1),
            "fingerprint": In(32),
            "program": In(32),
            "o_request": Out(stream.Signature(read_request())),
            "i_beat": In(stream.Signature(config.beat_bits)),
            "o": Out(stream.Signature(fetched_op())),
            "fault": Out(4),
            "index": Out(32),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._c
        beats_per_op = max(1, OP_BYTES // c.lanes)
        ops_per_beat = max(1, c.lanes // OP_BYTES)
        op = Signal(8 * OP_BYTES)  # being filled
        filled = Signal(range(beats_per_op + 1))
        part = Signal(range(ops_per_beat + 1))
        have = Signal()  # `op` is complete
        take = Signal()  # `op` moves on to be `checked`
        checked = Signal(OP_BITS)
        judged = Signal()  # a cycle later: it is found `good` or not
        valid = Signal()  # of `checked` and `good`
        consume = Signal()  # `checked` leaves
        request = self.o_request.payload

        active = Signal()
        with m.If(active & (~have | take) & self.i_beat.valid):
            if ops_per_beat == 1:
                m.d.comb += self.i_beat.ready.eq(1)
                m.d.sync += op.eq(Cat(op, self.i_beat.payload)[-len(op):])
                m.d.sync += filled.eq(Mux(filled == beats_per_op - 1, 0, filled + 1))
            else:
                m.d.comb += self.i_beat.ready.eq(part == ops_per_beat - 1)
                m.d.sync += op.eq(self.i_beat.payload.word_select(part, len(op)))
                m.d.sync += part.eq(Mux(part == ops_per_beat - 1, 0, part + 1))
        complete = Signal()
        m.d.comb += complete.eq(active & (~have | take) & self.i_beat.valid & (filled == beats_per_op - 1))
        with m.If(complete):
            m.d.sync += have.eq(1)
        with m.Elif(take):
            m.d.sync += have.eq(0)

        m.d.comb += take.eq(have & ~valid & ~judged)
        header = OpView(checked, Opcode.HEADER)
        good = Signal()
        m.d.sync += judged.eq(take)
        with m.If(take):
            m.d.sync += checked.eq(op)
        possible = self._possible(m, op, take, checked)
        with m.If(judged):
            m.d.sync += [valid.eq(1), good.eq(possible)]
        with m.Elif(consume):
            m.d.sync += valid.eq(0)
        halts = checked[0:8] == Opcode.HALT
        m.d.comb += [self.o.payload.op.eq(checked), self.o.payload.index.eq(self.index)]

        chunk = 65535 // beats_per_op * ops_per_beat if ops_per_beat == 1 else 65534
        ops = Signal(32)  # of the whole program
        offset = Signal(32)
        left = Signal(32)  # ops not yet asked for
        now, more = Signal(32), Signal()  # how many of them are asked for next, and whether any; a cycle behind `left`
        settled = Signal()  # these are those of `left`
        following = Signal(32)  # index of the next op
        m.d.sync += [now.eq(Mux(left > chunk, chunk, left)), more.eq(left != 0), settled.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [offset.eq(self.program), left.eq(ops_per_beat), self.index.eq(0),
                                 filled.eq(0), part.eq(0), have.eq(0), judged.eq(0), valid.eq(0), active.eq(1)]
                    m.next = "REQUEST_HEADER"
            with m.State("REQUEST_HEADER"):
                m.d.comb += [self.o_request.valid.eq(1), request.offset.eq(offset), request.beats.eq(beats_per_op)]
                with m.If(self.o_request.ready):
                    m.d.sync += offset.eq(offset + beats_per_op * c.lanes)
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(valid):
                    with m.If((header.opcode != Opcode.HEADER) | (header.version != VERSION) | (header.magic != MAGIC)
                              | (header.fingerprint != self.fingerprint) | (header.ops < 2)):
                        m.d.sync += self.fault.eq(Fault.VERSION)
                        m.next = "STOPPED"
                    with m.Else():
                        m.d.comb += consume.eq(1)
                        m.d.sync += [left.eq(header.ops - ops_per_beat), settled.eq(0),
                                     ops.eq(header.ops), self.index.eq(1), following.eq(2)]
                        m.next = "OPS"
            with m.State("OPS"):
                beats = Signal(32)
                m.d.comb += beats.eq(now * beats_per_op if ops_per_beat == 1
                                     else (now + ops_per_beat - 1) >> (ops_per_beat.bit_length() - 1))
                m.d.comb += [self.o_request.valid.eq(more & settled), request.offset.eq(offset),
                             request.beats.eq(beats)]
                with m.If(self.o_request.valid & self.o_request.ready):
                    m.d.sync += [left.eq(left - now), settled.eq(0), offset.eq(offset + beats * c.lanes)]
                with m.If(valid):
                    with m.If(~good | (halts != (following == ops))):
                        m.d.sync += self.fault.eq(Fault.UNKNOWN_OP)
                        m.next = "STOPPED"
                    with m.Else():
                        m.d.comb += [self.o.valid.eq(1), consume.eq(self.o.ready)]
                        with m.If(self.o.ready):
                            m.d.sync += [self.index.eq(following), following.eq(following + 1)]
                            with m.If(halts):
                                m.d.sync += active.eq(0)
                                m.next = "IDLE"
            with m.State("STOPPED"):
                m.d.sync += active.eq(0)
        return m

    def _possible(self, m: Module, op: Value, take: Value, checked: Value) -> Value:
        """whether all fields of `checked` are, which is the `op` of the last `take`; comparisons a cycle before"""
        limits = self._c.limits
        fields = {opcode: OpView(op, opcode) for opcode in Opcode}

        def planes(value: Value) -> Value:
            return (value == 1) | (value == 2)

        def fits(best: Value) -> Value:
            """a list that the sorter can hold"""
            return (best != 0) & (best <= limits.max_candidates)

        gemv, attention, embed = fields[Opcode.GEMV], fields[Opcode.ATTENTION], fields[Opcode.EMBED]
        head, search, fine = fields[Opcode.HEAD], fields[Opcode.SEARCH], fields[Opcode.FINE]
        rules: dict[tuple[Opcode, ...], Value] = {
            (Opcode.GEMV,): Cat(planes(gemv.planes), gemv.kv_planes != 3, gemv.length.any(),
                                gemv.function <= max(Function), gemv.destination <= max(Destination)),
            (Opcode.ATTENTION,): Cat(planes(attention.kv_planes), attention.head_tiles.any(), attention.group.any()),
            (Opcode.EMBED,): Cat(planes(embed.planes), embed.length.any()),
            (Opcode.HEAD,): Cat(head.beats.any(), fits(head.best)),
            (Opcode.SEARCH,): Cat(search.beats.any(), fits(search.best),
                                  search.beats <= Mux(search.nibbles, self._c.nibble_beats, limits.max_index_beats)),
            (Opcode.FINE,): Cat(fine.beats.any(), fits(fine.best)),
            (Opcode.NORM,): fields[Opcode.NORM].length.any(),
            (Opcode.HALT, Opcode.TABLE, Opcode.ROPE, Opcode.WAIT, Opcode.FENCE): Const(1, 1),
        }
        held = {opcodes: Signal.like(rule, name=f"rules_{opcodes[0].name.lower()}") for opcodes, rule in rules.items()}
        with m.If(take):
            m.d.sync += [held[opcodes].eq(rule) for opcodes, rule in rules.items()]
        possible = Signal()
        with m.Switch(checked[0:8]):
            for opcodes, kept in held.items():
                with m.Case(*opcodes):
                    m.d.comb += possible.eq(kept.all())
        return possible
