"""How `issue` walks the ops: a module for each op class, and what all of them share.

| module      | does                                                                             |
|-------------|----------------------------------------------------------------------------------|
| `op_class`  | what an op class contributes to issue, and what it is given                      |
| `array`     | beats into the array, in tiles and rows, with credits for what is in flight      |
| `runs`      | beats into other units, in runs                                                  |
| `waits`     | WAIT, FENCE, HALT: ops without beats                                             |
| `tables`    | TABLE, ROPE                                                                      |
| `embedding` | EMBED                                                                            |
| `norm`      | NORM                                                                             |
| `gemv`      | GEMV                                                                             |
| `attention` | ATTENTION                                                                        |
| `head`      | HEAD, SEARCH, FINE                                                               |
"""
