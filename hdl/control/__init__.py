"""What tells the engines what to do, and what the engines tell each other and the host.

| module       | does                                                                           |
|--------------|--------------------------------------------------------------------------------|
| `fetch`      | reads and checks an engine's program                                           |
| `items`      | the order of keys and values in attention, for both walkers                    |
| `address`    | first walker: ops to read requests, as far ahead as the beat FIFO allows       |
| `issue`      | second walker: beats to the units that use them                                |
| `walk`       | its states, a module for each op class                                         |
| `counters`   | performance counters of an engine                                              |
| `merge_tree` | many streams into one                                                          |
| `exchange`   | merges the engines' elements and shows them to all                             |
| `list_merge` | merges the engines' sorted lists and shows them to all                         |
| `results`    | keeps each token's best rows for the host                                      |
| `loop`       | makes tokens pass after pass, each the input of the next                       |
| `supervisor` | start, end, faults, watchdog, soft reset                                       |
| `registers`  | the AXI4-Lite slave                                                            |
| `hub`        | wires all that engines share together                                          |
"""
