"""The integer golden model: one numpy twin per RTL unit, bit for bit. Never imports Amaranth.

| module       | twin of                 | says                                                          |
|--------------|-------------------------|---------------------------------------------------------------|
| `fixed`      | `hdl.common.fixed`      | round half up, saturate, requantise                           |
| `tables`     | ROMs of the units       | contents of the 2**-f, 1/x, 1/sqrt(x) tables; activation table |
| `pods`       | `hdl.engine.pods`       | GEMV columns (VPU) and row products (TCU)                     |
| `norm`       | `hdl.engine.norm`       | LayerNorm and RMSNorm                                         |
| `osu`        | `hdl.engine.osu`        | online softmax with block-wise merge                          |
| `sfu`        | `hdl.engine.sfu`        | activation table, gate multiply, RoPE                         |
| `embed`      | `hdl.engine.embed`      | a table row into the residual format                          |
| `loop`       | `hdl.control.loop`      | the passes and tokens of a decode loop                        |
| `host`       | `hdl.host.commands`     | answers of the serial host                                    |

All functions take and return int64 arrays whose values fit the stated widths, vectorised over leading axes.
"""
