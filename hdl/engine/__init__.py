"""One engine, in the order of its datapath.

| module        | does                                                                          |
|---------------|-------------------------------------------------------------------------------|
| `engine`      | wires all of it together                                                      |
| `boundary`    | the ports, and the registers right behind them                                |
| `operands`    | meets a beat with its activations                                             |
| `pods`        | multiplies: columns (VPU) and rows (TCU) on the same multipliers              |
| `finish`      | rounds and saturates the sums that leave, pod after pod                       |
| `parameters`  | keeps the requantiser records of two tiles                                    |
| `osu`         | online softmax: scores in, probabilities back to the pods, values merged      |
| `scores`      | its scores of two blocks of keys, and the running maximum                     |
| `exponential` | a probability from a score                                                    |
| `totals`      | sums of probabilities, and their reciprocals                                  |
| `merge`       | sums of values, merged and divided                                            |
| `embed`       | rows of the vocabulary and position tables                                    |
| `epilogue`    | gives finished sums their record, destination and index                       |
| `sources`     | merges sums, rows and embeddings in front of the requantiser                  |
| `requantise`  | sums to activations, residuals, scores, logits                                |
| `sfu`         | activation table, gate multiply, RoPE                                         |
| `router`      | adds residuals; elements to exchange, vector buffer, cache                    |
| `lane_memory` | vector buffer and lookup tables of the coarse head, one memory for two lanes  |
| `lane_buffer` | memory written by element and read by row                                     |
| `cache`       | packs keys and values into beats of the KV cache                              |
| `moments`     | sums of the residual and of its squares, while it arrives                     |
| `roots`       | 1/sqrt of its variance                                                        |
| `norm`        | LayerNorm and RMSNorm                                                         |
| `head`        | LM head: ranks rows, chooses those to read exactly, reports the best          |
| `row_terms`   | biases and radii of rows whose indices stream by                              |
| `row_records` | requantiser records of single vocabulary rows                                 |
| `magnitude`   | length of the coordinates, and the scale of the margins                       |
| `row_bound`   | a row's coarse score plus margin                                              |
| `bound_memory` | keeps bounds, finds rows that reach a threshold                              |
| `threshold`   | what bounds must reach, from the best logits of candidates                    |
| `candidates`  | merged lists of all engines: rows to read here, best logits                   |
| `list_out`    | the sorter's lists on their way to the other engines                          |
| `sorter`      | the best rows of each token                                                   |
| `logit_store` | writes all logits when asked                                                  |
"""
