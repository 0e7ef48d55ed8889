"""The machine: its configuration, encoding and register map (no Amaranth import), and its RTL.

| module      | says                                                            |
|-------------|-----------------------------------------------------------------|
| `config`    | the dataclass tree that everything is derived from; presets     |
| `isa`       | the program encoding and the fault codes                        |
| `registers` | the register map and the counters                               |
| `lpu`       | the top: the hub and N engines                                  |
| `emit`      | Verilog of top, hub and engine                                  |
| `common/`   | building blocks                                                 |
| `memory/`   | the AXI4 port of an engine                                      |
| `control/`  | sequencing, exchange, registers                                 |
| `engine/`   | one engine, along its datapath                                  |
"""
