"""Building blocks shared by all units.

| module        | says                                                                    |
|---------------|-------------------------------------------------------------------------|
| `payloads`    | payloads of the streams between units                                   |
| `fixed`       | round half up, saturate: expressions, and a pipelined shifter           |
| `tree`        | reductions with explicit width growth, one register a level if wanted   |
| `pipeline`    | delay lines                                                             |
| `buffer`      | two places that cut every combinational path of a stream                |
| `relay`       | queue of registers for what comes rarely                                |
| `credit_fifo` | FIFO that makes a free-running pipeline elastic                         |
| `turns`       | words of all pods dealt to one datapath, pod after pod, and collected   |
| `multiply`    | wide products in slices that fit a multiplier of any part               |
| `interpolate` | table with linear interpolation                                         |
"""
