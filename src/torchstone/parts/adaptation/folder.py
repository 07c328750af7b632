"""Adapter folders as PEFT writes them (adapter_config.json, adapter_model.safetensors): read and written, whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from torchstone.core.errors import UsageError, told
from torchstone.core.files import whole
from torchstone.parts.adaptation.configuration import read_settings, written_settings
from torchstone.parts.adaptation.lora import base_weight
from torchstone.parts.adaptation.model import build, install, lora_layers, plain_targets, settings_of
from torchstone.parts.adaptation.targets import Settings

CONFIGURATION, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
Factors = Mapping[str, Mapping[str, Tensor]]
_PREFIX = "base_model.model."
_FACTORS = ("lora_A", "lora_B")
_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def save_adapter(model: nn.Module, folder: str | os.PathLike[str], *, base_model_name_or_path: str | None = None) -> Path:
    """Write a model's adapters as a PEFT folder, which `peft.PeftModel.from_pretrained` and `load_adapter` read; gives its path.

    Factors alone are written, in their dtype. Both files are written whole before either takes its place. In a folder that exists,
    the working directory or a link too, the adapter's files are replaced and its other files stay.
    `base_model_name_or_path` is what peft calls the base.

    Raises UsageError for a model without adapters, and where nothing can be written.
    """
    settings = settings_of(model)
    if settings.layers_to_transform is not None:  # peft finds layers' numbers in fewer names than we do; names say the same to both
        names = sorted(name for name, _ in lora_layers(model))
        settings = replace(settings, target_modules=names, layers_to_transform=None, layers_pattern=None)
    if base_model_name_or_path is not None:
        settings = replace(settings, base_model_name_or_path=base_model_name_or_path)
    tensors = {
        f"{_PREFIX}{name}.{factor}.weight": getattr(layer, factor).detach().cpu().contiguous()
        for name, layer in lora_layers(model) for factor in _FACTORS
    }  # fmt: skip
    place, fan_in_fan_out = Path(folder).absolute(), any(layer.transposed for _, layer in lora_layers(model))
    try:
        _write_whole(place, written_settings(settings, fan_in_fan_out=fan_in_fan_out), tensors)
    except (OSError, SafetensorError) as error:
        message = f"the adapter cannot be written to {folder} ({told(error)}); give a folder that can be made or written"
        raise UsageError(message) from error
    return place


def _write_whole(place: Path, configuration: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Both files are written beside their places, and take them only when both are whole."""
    made = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    try:
        with whole(place / CONFIGURATION) as settings, whole(place / WEIGHTS) as factors:
            settings.write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            save_file(dict(tensors), factors, metadata={"format": "pt"})
        (place / PICKLED).unlink(missing_ok=True)
    except BaseException:
        if made:
            with suppress(OSError):
                place.rmdir()
        raise


def load_adapter(model: nn.Module, folder: str | os.PathLike[str]) -> nn.Module:
    """Put the adapters of a PEFT folder beside a model's linear layers, as `peft.PeftModel.from_pretrained`; gives the model.

    The model is the plain base model, in evaluation or training mode, which it keeps; it becomes frozen but for the factors. The
    folder may be peft's or `save_adapter`'s. An adapter_model.bin is read only if `torch.load(weights_only=True)` can.

    Raises UsageError, and leaves the model as it was, for a folder or file that is missing or broken, for settings that are not
    read (DoRA, saved modules, ...), and for factors that are missing, too many, or of other shapes than the model's layers.
    """
    place = Path(folder)
    if not place.is_dir():
        message = f"{folder} is no folder; give the folder that holds {CONFIGURATION}"
        raise UsageError(message)
    settings = read_settings(place / CONFIGURATION)
    factors = _factors(_tensors(place), place)
    dtypes = {name: found["lora_A"].dtype for name, found in factors.items() if "lora_A" in found}
    _fit(plain_targets(model, settings), settings, factors, place)  # before anything is allocated: a rank may say anything
    adapters = build(model, settings, dtypes=_promoted(model, dtypes))
    with torch.no_grad():
        for name, layer in adapters.items():
            for factor in _FACTORS:
                getattr(layer, factor).copy_(factors[name][factor])
    install(model, adapters, settings)
    return model


def _promoted(model: nn.Module, dtypes: Mapping[str, torch.dtype]) -> dict[str, torch.dtype]:
    """The dtype of each layer's factors: wide enough for the base's and for the file's."""
    known = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
    weights = {name: getattr(known.get(name), "weight", None) for name in dtypes}
    return {name: torch.promote_types(dtypes[name], one.dtype) for name, one in weights.items() if isinstance(one, Tensor)}


def _tensors(place: Path) -> dict[str, Tensor]:
    """All tensors of a folder's file of weights."""
    if (place / WEIGHTS).exists():
        try:
            return load_file(place / WEIGHTS)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            message = f"{place / WEIGHTS} cannot be read as safetensors ({told(error)}); save or download it again"
            raise UsageError(message) from error
    if (place / PICKLED).exists():
        return _unpickled(place / PICKLED)
    message = f"{place} holds no {WEIGHTS}; save the adapter again"
    raise UsageError(message)


def _unpickled(path: Path) -> dict[str, Tensor]:
    """A pickle's tensors, read without running what it holds."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Its own text runs over many lines and says how to switch the protection off.
        message = f"{path} is a pickle of more than tensors ({type(error).__name__}), so it is not loaded; save it as {WEIGHTS}"
        raise UsageError(message) from error
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        message = f"{path} holds a {type(found).__name__} that is no dictionary of tensors; save it as {WEIGHTS}"
        raise UsageError(message)
    return found


def _factors(tensors: Mapping[str, Tensor], place: Path) -> dict[str, dict[str, Tensor]]:
    """The factors of each module. Raises UsageError for tensors that are no factor of a linear layer."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        path, _, factor = key.removesuffix(".weight").rpartition(".")
        if not key.startswith(_PREFIX) or not key.endswith(".weight") or factor not in _FACTORS:
            message = f"{place} has a tensor {key!r}; only {_PREFIX}<path>.lora_A.weight and .lora_B.weight of linear layers can be"
            raise UsageError(message)
        if tensor.dim() != 2 or tensor.dtype not in _DTYPES:  # noqa: PLR2004 - a matrix
            came = f"{tuple(tensor.shape)} of {tensor.dtype}"
            message = f"{place}: {key} is a matrix of 16, 32 or 64 bit floating-point numbers; {came} came"
            raise UsageError(message)
        found.setdefault(path.removeprefix(_PREFIX), {})[factor] = tensor
    return found


def _fit(modules: Mapping[str, nn.Module], settings: Settings, factors: Factors, place: Path) -> None:
    """Raise UsageError unless a folder has exactly the factors of these modules' adapters, in their shapes."""
    wrong = list(_misfits(modules, settings, factors))
    if wrong:
        more = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        message = f"{place} does not fit this model: {wrong[0]}{more}; load it into the model that it was trained with"
        raise UsageError(message)


def _misfits(modules: Mapping[str, nn.Module], settings: Settings, factors: Factors) -> Iterator[str]:
    for name in sorted(factors.keys() - modules.keys()):
        yield f"it has factors for {name!r}, which the configuration's target_modules do not mean here"
    for name, module in modules.items():
        rank, (outside, inside) = settings.of(name)[0], base_weight(module).shape
        for factor, wanted in zip(_FACTORS, ((rank, inside), (outside, rank)), strict=True):
            came = factors.get(name, {}).get(factor)
            if came is None:
                yield f"{_PREFIX}{name}.{factor}.weight is missing"
            elif tuple(came.shape) != wanted:
                yield f"{_PREFIX}{name}.{factor}.weight is {tuple(came.shape)}, not {wanted}"
