"""Everything that answers without hardware.

| part         | says                                                                    |
|--------------|-------------------------------------------------------------------------|
| `reference`  | the float reference                                                     |
| `golden/`    | the integer golden model, one twin per RTL unit                         |
| `verilator/` | the RTL itself, compiled to a library, with AXI memories around it      |
"""
