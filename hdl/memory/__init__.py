"""The memory port of an engine.

| file | what |
|---|---|
| `axi.py` | AXI4 and AXI4-Lite signatures, and their connection to ports with standard names |
| `interleave.py` | pages of the engines that share a memory |
| `bursts.py` | read requests → window check → bursts that AXI4 allows |
| `reader.py` | two clients' bursts, many in flight, into FIFOs that have room for them |
| `writer.py` | single-beat writes, many in flight |
| `block_ram.py` | the other side of the port, on the chip |
"""
