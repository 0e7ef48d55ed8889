"""A host at the end of a serial line: what `hdl.protocol` says, as hardware.

| module             | does                                                        |
|--------------------|-------------------------------------------------------------|
| `uart_receiver`    | line → bytes                                                |
| `deframer`         | bytes → bodies of frames, checked                           |
| `commands`         | requests → register and memory accesses → answers           |
| `framer`           | bodies → bytes                                              |
| `uart_transmitter` | bytes → line                                                |
| `uart_host`        | these five, between the line and the machine                |
"""
