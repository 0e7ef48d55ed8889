"""A model on this computer's CPU in torch, greedy and with its cache: what the machine is compared with."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError, ToolError


@dataclass(frozen=True)
class Timing:
    """of one prompt"""

    tokens: list[int]
    first_token_seconds: float
    token_seconds: float
    """of each token after the first, on average"""


class TorchModel:
    """`path` in float32, as transformers loads it. `what` names torch, the CPU and the threads.

    Raises `ToolError` when torch or transformers is missing and `ModelError` for a model in another form.
    """

    def __init__(self, path: Path) -> None:
        try:
            import torch
            import transformers
        except ImportError as e:
            raise ToolError(f"{e.name} is not installed: pip install hte-lpu[torch]") from e
        if not (path / "config.json").exists():
            raise ModelError(f"{path} is not a Hugging Face directory, which torch needs")
        transformers.utils.logging.disable_progress_bar()
        self._torch: Any = torch
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, dtype=torch.float32
        ).eval()
        self.what = f"torch {torch.__version__}, float32, {torch.get_num_threads()} threads, {cpu_name()}"

    def generate(self, prompt: Sequence[int], tokens: int) -> Timing:
        """`tokens` ≥ 2 greedy ones after the prompt, whatever ends a text; the prompt runs once before, unmeasured"""
        torch = self._torch
        produced: list[int] = []
        with torch.inference_mode():
            ids = torch.tensor([list(prompt)])
            self._model(ids, use_cache=True)
            begun = time.perf_counter()
            first, cache = begun, None
            for _ in range(tokens):
                out = self._model(ids, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                ids = out.logits[:, -1:].argmax(-1)
                produced.append(int(ids))
                if len(produced) == 1:
                    first = time.perf_counter()
        return Timing(produced, first - begun, (time.perf_counter() - first) / (tokens - 1))


def cpu_name() -> str:
    """of this computer's processor"""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
