"""From a published model to a running machine, in the order of use.

| module                                       | does                                                          |
|----------------------------------------------|---------------------------------------------------------------|
| `importers/`, `model`                        | checkpoints and tokenizers into one canonical float model     |
| `texts`, `ranges`                            | calibration texts; what the float model does on them          |
| `calibrate`, `assemble`, `quantise`          | formats and integers; which widths                            |
| `quantised`, `store`, `bundle`, `folder`     | the fixed-point model, and how it is kept on disk             |
| `evaluate`, `node_report`                    | perplexity, clipped values, errors per node                   |
| `limits`, `layout`, `compiler`, `image`      | does it fit; memory images and programs                       |
| `backend`                                    | driver of a machine, simulated or real                        |
| `runtime`, `sampling`                        | text from a decoder                                           |
| `library`, `report`, `commands/`, `cli`       | the `lpu` command                                             |
| `errors`                                     | what a user can cause                                         |
| `generate`, `doctor`, `documentation`        | Verilog folders; what is missing; generated pages             |
| `train`                                      | small models from a text file                                 |
"""
