"""adapter_config.json as PEFT writes it: read into settings, and written from them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchstone.core.errors import UsageError
from torchstone.parts.adaptation.targets import Settings

# peft's names of what `Settings` holds.
_OURS = {
    "r": "rank", "lora_alpha": "alpha", "lora_dropout": "dropout", "target_modules": "target_modules",
    "exclude_modules": "exclude_modules", "layers_to_transform": "layers_to_transform", "layers_pattern": "layers_pattern",
    "rank_pattern": "rank_pattern", "alpha_pattern": "alpha_pattern", "use_rslora": "use_rslora",
    "base_model_name_or_path": "base_model_name_or_path",
}  # fmt: skip
# Entries that do not change what a loaded adapter of linear layers computes, whatever they say.
_INERT = {
    "auto_mapping", "ensure_weight_tying", "fan_in_fan_out", "inference_mode", "megatron_core", "peft_type", "peft_version",
    "qalora_group_size", "revision", "task_type",
}  # fmt: skip
# Initialisations after which the base's weights are what they were: the others move part of them into the factors.
_INITIAL = (True, False, "gaussian", "orthogonal")


def read_settings(path: Path) -> Settings:
    """The settings that a configuration file asks for.

    Raises UsageError for a file that is missing or no JSON object, another kind of adapter, and for features that are not read.
    """
    found = _entries(path)
    if found.get("peft_type") != "LORA":
        message = f"{path} is of peft_type {found.get('peft_type')!r}; only LORA adapters are read"
        raise UsageError(message)
    missing = [name for name in ("r", "lora_alpha", "target_modules") if found.get(name) is None]
    if missing:
        message = f"{path} does not say {', '.join(missing)}; save the adapter again"
        raise UsageError(message)
    _refuse_others(found, path)
    given = {ours: found[name] for name, ours in _OURS.items() if found.get(name) is not None}
    try:
        return Settings(**{"dropout": 0.0, **given})
    except UsageError as error:
        message = f"{path}: {error}"
        raise UsageError(message) from error


def _entries(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path} is missing; give the folder that peft's save_pretrained or save_adapter wrote"
        raise UsageError(message) from error
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read as JSON ({type(error).__name__}); save the adapter again"
        raise UsageError(message) from error
    if not isinstance(found, dict):
        message = f"{path} holds a {type(found).__name__}, not an object of settings; save the adapter again"
        raise UsageError(message)
    return found


def _refuse_others(found: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError for a feature that would make the adapter compute something else than W x + s B A x."""
    asked = {name: value for name, value in found.items() if name not in _OURS and name not in _INERT and value}
    asked = {name: value for name, value in asked.items() if (name, value) != ("bias", "none")}
    initial = found.get("init_lora_weights", True)
    if initial in _INITIAL:
        asked.pop("init_lora_weights", None)
    for name, value in asked.items():
        message = f"{path} asks for {name} = {value!r}, which is not read; save the adapter without it, or load it with peft"
        raise UsageError(message)


def written_settings(settings: Settings, *, fan_in_fan_out: bool) -> dict[str, Any]:
    """What a configuration file says of these settings; `fan_in_fan_out` for layers that keep their weight as (in, out)."""
    ours = {name: _plain(getattr(settings, field)) for name, field in _OURS.items()}
    return {
        **ours, "peft_type": "LORA", "task_type": None, "bias": "none", "fan_in_fan_out": fan_in_fan_out, "inference_mode": True,
        "init_lora_weights": True, "modules_to_save": None, "use_dora": False,
    }  # fmt: skip


def _plain(value: object) -> object:
    """What JSON can hold: names in order, whole numbers without a fraction."""
    if isinstance(value, set | tuple | list):
        return sorted(value)
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
