"""AXI4 and AXI4-Lite signatures from the master's side, and ports with the standard flat names.

A member `axi` of a component becomes ports `axi__araddr` and so on. Where another prefix is wanted, as at the top
(`m_axi00_araddr`), a component declares `flat_members(prefix, signature)` and wires them with `connect_flat`.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Flow, In, Member, Out

from ..config import Config

BOUNDARY = 4096
"""bytes; no AXI4 burst may cross a multiple of it"""
INCR = 1
BUFFERABLE = 0b0011
"""AxCACHE of normal, non-cacheable, bufferable memory"""
LITE_ADDRESS_BITS = 12
OKAY = 0
SLVERR = 2


def axi4_read_signature(config: Config) -> wiring.Signature:
    """AR and R channels; one ID bit: 0 data, 1 program"""
    return wiring.Signature(_address(config, "ar") | {
        "rid": In(1),
        "rdata": In(config.beat_bits),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    })


def axi4_write_signature(config: Config) -> wiring.Signature:
    """AW, W and B channels; the ID is always 0"""
    return wiring.Signature(_address(config, "aw") | {
        "wdata": Out(config.beat_bits),
        "wstrb": Out(config.lanes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
    })


def axi4_signature(config: Config) -> wiring.Signature:
    """All five channels of an engine's port."""
    return wiring.Signature(_members(axi4_read_signature(config)) | _members(axi4_write_signature(config)))


def axi4_lite_signature() -> wiring.Signature:
    """The host's port: 32-bit data, `LITE_ADDRESS_BITS` of byte address."""
    return wiring.Signature({
        "awaddr": Out(LITE_ADDRESS_BITS),
        "awprot": Out(3),
        "awvalid": Out(1),
        "awready": In(1),
        "wdata": Out(32),
        "wstrb": Out(4),
        "wvalid": Out(1),
        "wready": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
        "araddr": Out(LITE_ADDRESS_BITS),
        "arprot": Out(3),
        "arvalid": Out(1),
        "arready": In(1),
        "rdata": In(32),
        "rresp": In(2),
        "rvalid": In(1),
        "rready": Out(1),
    })


def dma_window(config: Config) -> data.StructLayout:
    """A memory's engines may touch its bytes `base`, a multiple of `Config.window_alignment`, to `limit` - 1."""
    return data.StructLayout({"base": config.memory.address_bits, "limit": config.memory.address_bits})


def image_place(config: Config) -> data.StructLayout:
    """Where the image of an engine lies: from `window.base` on, and if engines share the memory, in the pages of the
    `turn`-th of them."""
    turn = {"turn": range(config.sharers)} if config.sharers > 1 else {}
    return data.StructLayout({"window": dma_window(config), **turn})


def flat_members(prefix: str, signature: wiring.Signature) -> dict[str, Member]:
    """Members `prefix` + `_` + name: ports with the standard names. Give `signature.flip()` for a slave."""
    return {f"{prefix}_{name}": member for name, member in _members(signature).items()}


def connect_flat(m: Module, component: Any, prefix: str, inner: Any) -> None:
    """Drive the flat ports of `component` from the interface `inner` of a submodule, and the other way round.

    component: has every member of `inner` as an attribute `prefix` + `_` + name (with an empty prefix, as `name`),
    e.g. from `flat_members` or because it is an interface itself; inner: an interface whose outputs are the outputs
    of `component`.
    """
    for name, member in _members(inner.signature).items():
        port = getattr(component, f"{prefix}_{name}" if prefix else name)
        if member.flow is Flow.Out:
            m.d.comb += port.eq(getattr(inner, name))
        else:
            m.d.comb += getattr(inner, name).eq(port)


def drive_constants(m: Module, axi: Any, channel: str, config: Config) -> None:
    """Drive what never changes in address channel `ar` or `aw`: incrementing bursts of whole beats in plain memory."""
    m.d.comb += [
        getattr(axi, f"{channel}size").eq(Const(config.lanes.bit_length() - 1, 3)),
        getattr(axi, f"{channel}burst").eq(INCR),
        getattr(axi, f"{channel}cache").eq(BUFFERABLE),
        getattr(axi, f"{channel}prot").eq(0),
    ]


def _members(signature: wiring.Signature) -> dict[str, Member]:
    return dict(signature.members.items())


def _address(config: Config, channel: str) -> dict[str, Member]:
    return {
        f"{channel}id": Out(1),
        f"{channel}addr": Out(config.memory.address_bits),
        f"{channel}len": Out(8),
        f"{channel}size": Out(3),
        f"{channel}burst": Out(2),
        f"{channel}cache": Out(4),
        f"{channel}prot": Out(3),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }
