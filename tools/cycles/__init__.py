"""How many cycles a pass takes, from configuration and programs alone: an event model of the machine.

| module | what |
|---|---|
| `passes` | what is asked: `Pass`, `Port`; what is said of an op class: `Share` |
| `timing` | delays of the pipelines, taken from the units |
| `fetch`, `stream` | the program and the beats of an engine: memory, FIFO, consumption |
| `exchange` | words of all engines: one a cycle |
| `engine`, `gemv`, `attention`, `head` | an engine walks its ops |
| `model` | all engines together: `predict` |
| `grid` | the model held to the RTL |

`docs/cycle_model.md` says what it knows and how well.
"""

from .model import Prediction, decoded, predict, programs
from .passes import Pass, Port, Share

__all__ = ["Pass", "Port", "Prediction", "Share", "decoded", "predict", "programs"]
