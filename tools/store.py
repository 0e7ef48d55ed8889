"""A `QuantisedModel` as one safetensors file: arrays as tensors, all else as JSON in its metadata. The same model gives
the same bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import ModelError, ToolError
from .quantised import CoarseHead, Layer, Linear, Margin, Norm, QuantisedModel, Table

FORMAT = 1
_KEY = "lpu"
_LINEARS = ("query", "key", "value", "projection", "up", "down")
Tensors = dict[str, NDArray[Any]]


def save(model: QuantisedModel, path: str | Path) -> None:
    """Write `model` to the file `path`; raises `ToolError` if it cannot be written."""
    tensors: Tensors = {}
    tree = _flatten(model, "", tensors)
    text = json.dumps({"format": FORMAT, "digest": _digest(tensors), "model": tree}, sort_keys=True)
    try:
        save_file(tensors, str(path), metadata={_KEY: text})
    except (OSError, SafetensorError) as e:
        raise ToolError(f"cannot write {path}: {e}") from e


def load(path: str | Path) -> QuantisedModel:
    """Inverse of `save`; raises `ModelError` for a file that is missing, damaged or of another version."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (OSError, SafetensorError) as e:
        raise ModelError(f"cannot read the fixed-point model {path}: {e}; import the model again") from e
    if text is None:
        raise ModelError(f"{path} is not a fixed-point model of this project: import the model first")
    try:
        saved = json.loads(text)
        if saved["format"] != FORMAT:
            raise ModelError(f"{path} has format {saved['format']} instead of {FORMAT}: import the model again")
        if saved["digest"] != _digest(tensors):
            raise ValueError("its weights do not match their checksum")
        return _model(_resolve(saved["model"], tensors))
    except ModelError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ModelError(f"the fixed-point model {path} is damaged ({e}): import the model again") from e


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype.str} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()


def _flatten(value: Any, name: str, tensors: Tensors) -> Any:
    """`value` with every array moved to `tensors` and replaced by `{"tensor": name}`"""
    if isinstance(value, np.ndarray):
        tensors[name] = np.ascontiguousarray(value)
        return {"tensor": name}
    if dataclasses.is_dataclass(value):
        return {f.name: _flatten(getattr(value, f.name), f"{name}.{f.name}".lstrip("."), tensors)
                for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: _flatten(v, f"{name}.{k}", tensors) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_flatten(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _resolve(tree: Any, tensors: Tensors) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {"tensor"}:
            return tensors[tree["tensor"]]
        return {k: _resolve(v, tensors) for k, v in tree.items()}
    return [_resolve(v, tensors) for v in tree] if isinstance(tree, list) else tree


def _model(tree: dict[str, Any]) -> QuantisedModel:
    tables = {k: None if tree[k] is None else Table(**tree[k]) for k in ("embedding", "position", "head")}
    rope = None if tree["rope"] is None else tuple(tree["rope"])
    final_norm, layers = Norm(**tree["final_norm"]), [_layer(layer) for layer in tree["layers"]]
    coarse = None if tree.get("coarse") is None else _coarse(tree["coarse"])
    return QuantisedModel(**{**tree, **tables, "rope": rope, "layers": layers, "final_norm": final_norm,
                             "coarse": coarse})


def _layer(tree: dict[str, Any]) -> Layer:
    parts: dict[str, Any] = {k: Linear(**tree[k]) for k in _LINEARS}
    parts.update({k: Norm(**tree[k]) for k in ("attention_norm", "ffn_norm")})
    return Layer(**{**tree, **parts, "table": tuple(tree["table"])})


def _coarse(tree: dict[str, Any]) -> CoarseHead:
    margins = {k: Margin(**tree[k]) for k in ("provable", "calibrated")}
    return CoarseHead(**{**tree, "basis": Linear(**tree["basis"]), **margins})
