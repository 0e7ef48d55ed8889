"""Benches: `bench` builds a component with Verilator and drives it from cocotb; the folders mirror the sources.

| module      | says                                                                              |
|-------------|-----------------------------------------------------------------------------------|
| `bench`     | `run_bench` for pytest; `Bench`, `StreamDriver`, `StreamMonitor` in the simulator |
| `packing`   | layouts to integers and back                                                      |
| `simulator` | Verilog of a component to a simulator binary, cached by content                   |
| `mutations` | seeded bugs, one list a unit, that the benches must notice                        |
"""
