"""A bitstream for a small board: the machine with its model in on-chip memory, and a serial line to the host.

| module    | does                                                                    |
|-----------|-------------------------------------------------------------------------|
| `fitting` | the longest context whose memory fits beside the machine                |
| `resets`  | resets of many registers over the clock networks                        |
| `routing` | how far the router is, and when to give it up                            |
| `build`   | synthesis, place and route, packing; what came of them, as a report     |
| `guide`   | how to program the board and talk to it                                 |
"""
