"""Train a small model from a text file: `python -m lpu.tools.train --text stories.txt --out my-model`.

Makes a byte-level BPE tokenizer and a Llama-architecture model, and writes them as a Hugging Face directory that
`lpu import`, `lpu run` and transformers read. Needs torch and transformers; nothing else of the project does.

`OUT` appears when training has ended. Until then everything is in `OUT.partial`; the same command goes on from there,
and ends with the same weights as if it had never stopped.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tokenizers
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open

from .errors import ModelError, ToolError, UserError
from .texts import SEPARATOR, read_documents

_VALIDATION_SHARE = 20
"""one token in this many is held out, at the end of the text"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What fixes the outcome of a training."""

    text: str
    hidden: int = 64
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 192
    vocab: int = 512
    context: int = 256
    steps: int = 20000
    batch: int = 32
    learning_rate: float = 2e-3
    seed: int = 1

    def __post_init__(self) -> None:
        """raises `UserError` for a shape that cannot be"""
        for name in ("hidden", "layers", "heads", "kv_heads", "ffn", "context", "steps", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.hidden % (2 * self.heads):
            raise UserError(f"hidden = {self.hidden} must be an even multiple of heads = {self.heads} for RoPE")
        if self.heads % self.kv_heads:
            raise UserError(f"heads = {self.heads} must be a multiple of kv_heads = {self.kv_heads}")
        if self.vocab < 257:
            raise UserError(f"vocab = {self.vocab} is below 257: the bytes and the end mark alone need that many")
        if not 0 < self.learning_rate < 1:
            raise UserError(f"learning_rate = {self.learning_rate} must be between 0 and 1")


def _train_tokenizer(documents: list[str], vocab: int) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[SEPARATOR],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def _tokens(documents: list[str], tokenizer: tokenizers.Tokenizer) -> NDArray[np.int64]:
    """all documents, each behind the separator, which so comes to mean "a new text starts here" """
    mark = tokenizer.token_to_id(SEPARATOR)
    return np.array([t for e in tokenizer.encode_batch_fast(documents) for t in (mark, *e.ids)], dtype=np.int64)


class Trainer:
    """A training that can be stopped after any step and goes on bit for bit where it was."""

    def __init__(self, settings: Settings, documents: list[str], tokenizer: tokenizers.Tokenizer) -> None:
        try:
            import torch
            from transformers import LlamaConfig, LlamaForCausalLM
        except ImportError as e:
            raise ToolError(f"training needs torch and transformers ({e}): pip install -r requirements-test.txt") from e
        self.torch, self.settings, self.step = torch, settings, 0
        tokens = torch.from_numpy(_tokens(documents, tokenizer))
        held_out = max(len(tokens) // _VALIDATION_SHARE, settings.context + 1)
        self._train, self._validation = tokens[:-held_out], tokens[-held_out:]
        if len(self._train) <= settings.context + 1:
            raise UserError(f"{settings.text} has only {len(tokens)} tokens: a context of {settings.context} needs "
                            f"more than {2 * settings.context + 2}; give more text or a smaller --context")
        torch.manual_seed(settings.seed)
        self.model = LlamaForCausalLM(LlamaConfig(
            hidden_size=settings.hidden, num_hidden_layers=settings.layers, num_attention_heads=settings.heads,
            num_key_value_heads=settings.kv_heads, intermediate_size=settings.ffn,
            vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=settings.context, tie_word_embeddings=True,
            rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=0,
        ))
        self._parameters = dict(self.model.named_parameters())
        matrices = [p for p in self._parameters.values() if p.ndim > 1]
        vectors = [p for p in self._parameters.values() if p.ndim == 1]
        self._optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], betas=(0.9, 0.95)
        )

    def train_step(self) -> float:
        """one step on a batch drawn from (seed, step) alone; returns its loss in nats per token"""
        s, torch = self.settings, self.torch
        warm_up = min(1.0, (self.step + 1) / max(1, min(500, s.steps // 10)))
        rate = s.learning_rate * warm_up * (0.55 + 0.45 * math.cos(math.pi * self.step / s.steps))
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        starts = np.random.default_rng((s.seed, self.step)).integers(0, len(self._train) - s.context, s.batch)
        rows = torch.stack([self._train[i : i + s.context] for i in starts.tolist()])
        self._optimiser.zero_grad()
        loss = self.model(input_ids=rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(f"training diverged at step {self.step}: lower --learning-rate, now {s.learning_rate}")
        return value

    def validation_loss(self) -> float:
        """nats per token over (at most 64 windows of) the held-out end of the text"""
        rows = self._validation.unfold(0, self.settings.context, self.settings.context)[:64]
        with self.torch.no_grad():
            return float(self.model(input_ids=rows, labels=rows).loss)

    def save(self, folder: Path) -> None:
        """model and state of the training, in place of what is there"""
        from safetensors.torch import save_file

        state = {f"{kind}.{name}": self._optimiser.state[p][kind]
                 for name, p in self._parameters.items() for kind in ("exp_avg", "exp_avg_sq")}
        state |= {f"weight.{name}": p.detach() for name, p in self._parameters.items()}
        fresh = folder / "training.new"
        save_file({k: v.contiguous() for k, v in state.items()}, fresh, metadata={"step": str(self.step)})
        fresh.replace(folder / "training.safetensors")

    def load(self, folder: Path) -> None:
        """go on from `folder`; raises `ModelError` if the state there is damaged"""
        path = folder / "training.safetensors"
        try:
            with safe_open(path, "pt") as file:
                self.step = int(file.metadata()["step"])
                for name, parameter in self._parameters.items():
                    parameter.data.copy_(file.get_tensor(f"weight.{name}"))
                    self._optimiser.state[parameter] = {
                        "step": self.torch.tensor(float(self.step)),
                        "exp_avg": file.get_tensor(f"exp_avg.{name}"),
                        "exp_avg_sq": file.get_tensor(f"exp_avg_sq.{name}"),
                    }
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as e:
            raise ModelError(f"{path} is damaged ({e}): remove {folder} to start anew") from e


def _prepare(out: Path, settings: Settings) -> Path:
    """the folder of an unfinished training, with its settings in it"""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ToolError(f"{out} exists: choose another --out, or remove it")
    partial = out.with_name(out.name + ".partial")
    known, wanted = partial / "settings.json", asdict(settings)
    try:
        if known.exists() and json.loads(known.read_text()) != wanted:
            raise ToolError(f"{partial} holds a training with other settings: repeat that command, or remove it")
        partial.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(wanted, indent=2) + "\n")
    except (OSError, json.JSONDecodeError) as e:
        raise ToolError(f"cannot use {partial} ({e}): remove it, or choose another --out") from e
    return partial


def train(settings: Settings, out: Path, *, every: int = 500, stop_after: int | None = None) -> dict[str, Any]:
    """Train, or go on with an unfinished training, and leave a Hugging Face directory at `out`.

    The state is saved every `every` steps. `stop_after` ends after so many steps in all and leaves `out.partial`
    behind. Returns `steps`, `train_loss` and `validation_loss` (nats per token). Raises `UserError`.
    """
    documents = read_documents(settings.text)
    tokenizer = _train_tokenizer(documents, settings.vocab)
    trainer = Trainer(settings, documents, tokenizer)
    partial = _prepare(out, settings)
    if (partial / "training.safetensors").exists():
        trainer.load(partial)
    loss = math.nan
    last = min(settings.steps, stop_after or settings.steps)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("training", total=settings.steps, completed=trainer.step)
        while trainer.step < last:
            loss = trainer.train_step()
            progress.update(task, completed=trainer.step, description=f"training, loss {loss:.3f}")
            if trainer.step % every == 0 or trainer.step == last:
                trainer.save(partial)
    result = {"steps": trainer.step, "train_loss": loss, "validation_loss": trainer.validation_loss()}
    if trainer.step < settings.steps:
        return result

    trainer.model.save_pretrained(partial)
    tokenizer.save(str(partial / "tokenizer.json"))
    marks = {"bos_token": SEPARATOR, "eos_token": SEPARATOR, "add_bos_token": True}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **marks}
    (partial / "tokenizer_config.json").write_text(json.dumps(about, indent=2) + "\n")
    (partial / "training.safetensors").unlink()
    (partial / "settings.json").unlink()
    if out.exists():
        out.rmdir()
    shutil.move(partial, out)
    return result


def main(
    text: Annotated[Path, typer.Option(help="UTF-8 text; documents are parted by <|endoftext|>.")],
    out: Annotated[Path, typer.Option(help="Directory to make; must not exist.")],
    hidden: Annotated[int, typer.Option(help="Elements of the residual stream.")] = Settings.hidden,
    layers: Annotated[int, typer.Option(help="Decoder blocks.")] = Settings.layers,
    heads: Annotated[int, typer.Option(help="Query heads.")] = Settings.heads,
    kv_heads: Annotated[int, typer.Option(help="Key and value heads.")] = Settings.kv_heads,
    ffn: Annotated[int, typer.Option(help="Elements of the feed-forward layer.")] = Settings.ffn,
    vocab: Annotated[int, typer.Option(help="Tokens of the tokenizer, at most.")] = Settings.vocab,
    context: Annotated[int, typer.Option(help="Positions.")] = Settings.context,
    steps: Annotated[int, typer.Option(help="Steps of the optimiser.")] = Settings.steps,
    batch: Annotated[int, typer.Option(help="Sequences per step.")] = Settings.batch,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = Settings.learning_rate,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.", min=0)] = Settings.seed,
) -> None:
    """Train a small Llama-architecture model from a text file and save it as a Hugging Face directory.

    Stopped in between, the same command goes on where it was.
    """
    try:
        settings = Settings(
            text=str(text), hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, ffn=ffn, vocab=vocab,
            context=context, steps=steps, batch=batch, learning_rate=learning_rate, seed=seed,
        )
        result = train(settings, out)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        raise typer.Exit(2) from e
    except KeyboardInterrupt as e:
        print(f"stopped; the same command goes on from {out}.partial", file=sys.stderr)
        raise typer.Exit(130) from e
    print(f"{out}: {result['validation_loss']:.3f} nats per token on held-out text. Try: lpu run {out}")


if __name__ == "__main__":
    typer.run(main)
