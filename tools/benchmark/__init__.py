"""What the machine achieves: the KPI table of a list of prompts (`kpi`, `systems`), and budgets with their limits."""
