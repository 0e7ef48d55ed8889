"""What a machine takes of a part, in milliseconds: memories and multipliers counted, logic by a fitted model.

| module | what |
|---|---|
| `memories`, `mapping` | all memories by shape; which RAMs of the part they become |
| `multipliers` | all multipliers by width; DSP blocks |
| `grid` | engines and hubs that were synthesised, in `grid.json` |
| `logic` | LUTs, flip-flops and carry cells, fitted to the grid |
| `estimate` | all of it together: `estimate`, and `check` against a board |
"""

from .estimate import Estimate, Occupancy, Use, check, estimate

__all__ = ["Estimate", "Occupancy", "Use", "check", "estimate"]
