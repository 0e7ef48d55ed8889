"""The AXI4-Lite register map: one definition for RTL, driver, C header and documentation. No Amaranth import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from .isa import Opcode


@dataclass(frozen=True)
class Register:
    """a 32-bit register at byte `address`; `count` > 1 makes an array with a step of 4 bytes"""

    address: int
    access: str
    doc: str
    count: int = 1


REGISTERS: dict[str, Register] = {
    "ID": Register(0x000, "ro", "0x3155504C, 'LPU1'"),
    "VERSION": Register(0x004, "ro", "version of the program encoding"),
    "FINGERPRINT": Register(0x008, "ro", "configuration that this hardware was generated from"),
    "SHAPE": Register(0x00C, "ro", "engines [7:0], lanes [15:8], pods [23:16]"),
    "CONTROL": Register(
        0x010,
        "wo",
        "bit 0: start a pass; bit 1: soft reset (waits for the memory, clears a fault); bit 2, with bit 0: the pass is "
        "the first of a loop; bit 3: the loop ends after the pass that runs",
    ),
    "STATUS": Register(
        0x014,
        "ro",
        "bit 0 busy (with a pass or a loop), 1 done, 2 fault, 3 quiet (nothing in flight on any port), 4 saturated "
        "(an accumulator was clipped since the last start), [15:8] fault code, [23:16] engine",
    ),
    "FAULT_OP": Register(0x018, "ro", "index of the op at the fault"),
    "WATCHDOG": Register(0x01C, "rw", "cycles without progress before an engine gives up; 0 waits for ever"),
    "PROGRAM": Register(0x020, "rw", "byte offset of the program in every engine's image"),
    "TOKENS": Register(0x024, "rw", "tokens of the pass, 1 to pods"),
    "BASE": Register(0x028, "rw", "keys in the cache before the pass; token t becomes key BASE + t"),
    "FLAGS": Register(0x02C, "rw", "bit 0: run the LM head; bit 1: store logits"),
    "WINDOW_SELECT": Register(0x030, "rw", "memory channel that the WINDOW registers show"),
    "WINDOW_BASE_LOW": Register(0x034, "rw", "first byte of the channel's DMA window, where its images begin"),
    "WINDOW_BASE_HIGH": Register(0x038, "rw", "its upper half"),
    "WINDOW_LIMIT_LOW": Register(0x03C, "rw", "first byte after the window"),
    "WINDOW_LIMIT_HIGH": Register(0x040, "rw", "its upper half"),
    "WINDOW_LOCK": Register(0x044, "rw", "write 1: all windows stay as they are until a hardware reset"),
    "COUNTER_SELECT": Register(0x048, "rw", "counter [7:0] of engine [15:8]"),
    "COUNTER_LOW": Register(0x04C, "ro", "the selected counter since the last start, over all passes of a loop; stands "
                            "still after them"),
    "COUNTER_HIGH": Register(0x050, "ro", "its upper half"),
    "RESULT_SLOT": Register(0x054, "rw", "entry that the RESULT registers show, 0 the best; at most 127"),
    "LOOP_COUNT": Register(0x058, "rw", "tokens that a loop makes at most, 1 to the depth of its token memory"),
    "LOOP_CONTEXT": Register(0x05C, "rw", "keys that the cache holds: a loop ends before a token that would be key "
                             "LOOP_CONTEXT"),
    "LOOP_EOS_COUNT": Register(0x060, "rw", "entries of LOOP_EOS that count"),
    "LOOP_SLOT": Register(0x064, "rw", "token of the loop that LOOP_TOKEN and LOOP_LOGIT show, 0 the first"),
    "LOOP_MADE": Register(0x068, "ro", "tokens that the loop has made so far; they stay until the next loop starts"),
    "LOOP_END": Register(0x06C, "ro", "why the loop has ended"),
    "LOOP_TOKEN": Register(0x070, "ro", "token LOOP_SLOT: the row of the largest logit, the lowest on ties"),
    "LOOP_LOGIT": Register(0x074, "ro", "its logit, signed"),
    "LOOP_IDLE": Register(0x078, "ro", "cycles of the loop in which no engine had an op"),
    "TOKEN": Register(0x100, "rw", "vocabulary index of token t", 16),
    "POSITION": Register(0x140, "rw", "position of token t", 16),
    "MASK": Register(0x180, "rw", "bit j: token t sees token j of this pass (bit t included)", 16),
    "RESULT_TOKEN": Register(0x1C0, "ro", "vocabulary row of token t's largest logit (RESULT_SLOT 0), second largest "
                             "(1) …; the lowest row first on ties", 16),
    "RESULT_LOGIT": Register(0x200, "ro", "its logit, signed", 16),
    "RESULT_COUNT": Register(0x240, "ro", "entries of token t's list", 16),
    "LOOP_EOS": Register(0x280, "rw", "a token that ends the loop that makes it", 4),
}


class LoopEnd(IntEnum):
    """why a loop has ended: the first that holds after a pass"""

    NONE = 0
    """it runs, or there was none"""
    FAULT = 1
    """a fault or a soft reset in the pass behind the last token"""
    NO_RESULT = 2
    """the pass behind the last token had no result: FLAGS or the program left out the LM head"""
    EOS = 3
    """the last token is one of LOOP_EOS"""
    COUNT = 4
    """LOOP_COUNT tokens are made"""
    CONTEXT = 5
    """the last token would be key LOOP_CONTEXT"""
    STOP = 6
    """the host asked for it"""


class Counter(IntEnum):
    """what COUNTER_SELECT chooses; cycles of an op class are at OP_CLASS + opcode"""

    CYCLES = 0
    """cycles of the pass"""
    DATA_BEATS = 1
    """beats read and used"""
    PROGRAM_BEATS = 2
    """beats of the program"""
    WRITE_BEATS = 3
    """beats written"""
    STALL_MEMORY = 4
    """cycles in which the array waited for a beat"""
    STALL_DEPENDENCY = 5
    """cycles in WAIT and FENCE, or in which a beat waited for the norm's output"""
    STALL_DRAIN = 6
    """cycles in which a beat waited for accumulators, parameters, softmax or a place for the norm's records"""
    STALL_EXCHANGE = 7
    """cycles in which an element waited for the exchange"""
    FINE_ROWS = 8
    """vocabulary rows that FINE has read"""
    OP_CLASS = 16


class Activity(IntEnum):
    """what an engine did in a cycle; the first that fits, in this order"""

    IDLE = 0
    """halted"""
    BEAT = 1
    """used a beat"""
    MEMORY = 2
    """waited for a beat or for its program"""
    EXCHANGE = 3
    """had nothing to do while an element waited for the exchange"""
    DEPENDENCY = 4
    """waited in an op for other engines, for its own units or for writes"""
    DRAIN = 5
    """had a beat that waited for accumulators, parameters, softmax or norm"""
    OTHER = 6
    """went from one op, tile or item to the next"""


COUNTERS = int(Counter.OP_CLASS) + max(Opcode) + 1
