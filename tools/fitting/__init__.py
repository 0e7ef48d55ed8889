"""Does a model fit a machine on a board? Answered from sizes alone, before anything is built.

| module | what |
|---|---|
| `verdict` | all that must fit, and how fast it would be: `judge` |
| `speed` | tokens/s by the cycle model, what limits them, energy |
| `nearest` | the nearest configuration that fits: `nearest` |
"""
