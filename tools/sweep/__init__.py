"""Many machines, models, contexts and heads at once: what each point achieves and costs, in one table.

| module | what |
|---|---|
| `grid` | fields and values → configurations, possible or not |
| `point` | what is asked of a point, and the hash that its record is named by |
| `plan` | all points of a sweep, with the command that reproduces each |
| `measure` | a point's answer: cycles, tokens/s, energy, resources |
| `rule` | which points the RTL answers |
| `hardware` | resources of a configuration and what a board has |
| `records` | answers that survive whatever ends the sweep |
| `local`, `cluster` | where points are measured: processes here, workers of a Dask cluster |
| `table` | rows, Parquet and CSV |

`docs/sweep.md` describes it for users.
"""
