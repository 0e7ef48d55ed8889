"""One engine, in the order of its datapath.

| module        | does                                                                          |
|---------------|-------------------------------------------------------------------------------|
| `engine`      | wires all of it together                                                      |
| `operands`    | meets a beat with its activations                                             |
| `pods`        | multiplies: columns (VPU) and rows (TCU) on the same multipliers              |
| `parameters`  | keeps the requantiser records of two tiles                                    |
| `osu`         | online softmax: scores in, probabilities back to the pods, values merged      |
| `embed`       | rows of the vocabulary and position tables                                    |
| `epilogue`    | gives finished sums their record, destination and index                       |
| `sources`     | merges sums, rows and embeddings in front of the requantiser                  |
| `requantise`  | sums to activations, residuals, scores, logits                                |
| `sfu`         | activation table, gate multiply, RoPE                                         |
| `router`      | adds residuals; elements to exchange, vector buffer, cache                    |
| `lane_buffer` | memory written by element and read by row                                     |
| `cache`       | packs keys and values into beats of the KV cache                              |
| `norm`        | LayerNorm and RMSNorm                                                         |
| `argmax`      | best row of the vocabulary shard; stores logits when asked                    |
"""
