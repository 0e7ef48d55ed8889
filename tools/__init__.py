"""From a published model to a running machine, in the order of use.

| module                                       | does                                                          |
|----------------------------------------------|---------------------------------------------------------------|
| `importers/`, `model`                        | checkpoints and tokenizers into one canonical float model     |
| `texts`, `ranges`                            | calibration texts; what the float model does on them          |
| `calibrate`, `assemble`, `quantise`          | formats and integers; which widths                            |
| `quantised`, `store`, `bundle`, `folder`     | the fixed-point model, and how it is kept on disk             |
| `evaluate`, `node_report`                    | perplexity, clipped values, errors per node                   |
| `lmhead/`, `head_mode`                       | codebooks of the coarse LM head; which rows give logits       |
| `limits`, `layout`, `compiler`, `image`      | does it fit; memory images and programs                       |
| `cycles/`                                    | how many cycles a pass takes, without the RTL                 |
| `sweep/`                                     | many machines and models at once, in one table                |
| `backend`                                    | driver of a machine, simulated or real                        |
| `native`                                     | the RTL in native simulation, for that driver                 |
| `uart`                                       | the driver's way to a board on a serial line                  |
| `runtime`, `sampling`                        | text from a decoder                                           |
| `library`, `digest`                          | what a user names as MODEL; results that are remembered       |
| `board`                                      | boards, their parts and memories                              |
| `resources/`, `fitting/`                     | what a machine takes of a board; does a model fit?            |
| `commands/`, `report`, `cli`, `errors`       | the `lpu` command                                             |
| `generate`, `register_files`, `vivado/`      | hardware as a folder: Verilog, register map, Vivado project   |
| `bitstream/`                                 | bits of a small board, with a model in its block RAM          |
| `hardware_readme`, `hardware_checks`         | what is in such a folder; other tools' opinion of it          |
| `doctor`, `documentation`                    | what is missing; generated pages                              |
| `unbuilt`                                    | hardware that is asked for a figure                           |
| `draw`, `geometry`                           | models of known sizes: random weights, or zeros to time       |
| `train`                                      | small models from a text file                                 |
"""
