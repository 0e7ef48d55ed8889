"""The machine: its configuration, encoding and register map (no Amaranth import), and its RTL.

| module      | says                                                            |
|-------------|-----------------------------------------------------------------|
| `config`    | the dataclass tree that everything is derived from; presets     |
| `isa`       | the program encoding and the fault codes                        |
| `registers` | the register map and the counters                               |
| `lpu`       | the top: the hub and N engines                                  |
| `emit`      | Verilog of top, hub and engine                                  |
| `protocol`  | what host and machine say over a serial line                    |
| `on_chip`   | the machine with its memory on the chip and a serial line       |
| `ecp5`      | clock and pins of a board with an ECP5                          |
| `common/`   | building blocks                                                 |
| `memory/`   | the AXI4 port of an engine                                      |
| `control/`  | sequencing, exchange, registers                                 |
| `engine/`   | one engine, along its datapath                                  |
| `host/`     | the serial line as hardware                                     |
"""
