"""Adapters of a whole model: added, merged, folded in, removed, and their state dict."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from torchstone.core.errors import UsageError
from torchstone.parts.adaptation.lora import LoRA
from torchstone.parts.adaptation.targets import Names, Settings, targets

_SETTINGS = "_lora_settings"


def add_lora(  # noqa: PLR0913 - peft's settings
    model: nn.Module,
    target_modules: Names,
    rank: int = 8,
    alpha: float | None = None,
    dropout: float = 0.0,
    *,
    rank_pattern: Mapping[str, int] | None = None,
    alpha_pattern: Mapping[str, float] | None = None,
    exclude_modules: Names | None = None,
    layers_to_transform: int | list[int] | None = None,
    layers_pattern: Names | None = None,
    use_rslora: bool = False,
    init_lora_weights: bool = True,
) -> nn.Module:
    """Freeze a model and put a `LoRA` beside each of its linear layers that `target_modules` means; the model itself comes back.

    `target_modules` as in peft: a list of names or endings (["q_proj", "v_proj"]), one regular expression for the whole name, or
    "all-linear". rank_pattern and alpha_pattern have other numbers for some names; layers_to_transform picks layers by number.
    A layer used under two names gets one adapter. Train `[p for p in model.parameters() if p.requires_grad]`.

    Raises UsageError, and leaves the model as it was, for settings that no adapter has, for targets that name no module or one that
    is no linear layer, and for a model that has adapters already.
    Source: Hu et al. 2022, section 4; target_modules of peft's LoraConfig.

    >>> model = add_lora(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), ["0"], rank=2)
    >>> sum(p.numel() for p in model.parameters() if p.requires_grad)
    24
    """
    settings = Settings(
        rank, float(rank) if alpha is None and isinstance(rank, int) else alpha, dropout, target_modules,
        exclude_modules, layers_to_transform, layers_pattern, dict(rank_pattern or {}), dict(alpha_pattern or {}), use_rslora,
    )  # fmt: skip
    adapters = build(model, settings, init_lora_weights=init_lora_weights)
    install(model, adapters, settings)
    return model


def build(
    model: nn.Module, settings: Settings, *, init_lora_weights: bool = True, dtypes: Mapping[str, torch.dtype] | None = None
) -> dict[str, LoRA]:
    """The adapters that the settings ask for, by their modules' names; nothing of the model has changed but for frozen parameters.

    A module under two names has one adapter. Raises UsageError as `add_lora`.
    """
    found = plain_targets(model, settings)
    frozen = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    adapters: dict[str, LoRA] = {}
    try:
        for name, module in found.items():
            rank, alpha = settings.of(name)
            adapters[name] = LoRA(
                module, rank, alpha, settings.dropout,
                use_rslora=settings.use_rslora, init_lora_weights=init_lora_weights, dtype=(dtypes or {}).get(name),
            )  # fmt: skip
    finally:  # LoRA freezes its base: whether the model becomes frozen is decided when they are installed
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(frozen[name])
    return adapters


def plain_targets(model: object, settings: Settings) -> dict[str, nn.Module]:
    """The modules that the settings mean, by name, in a model without adapters. Raises UsageError as `add_lora`."""
    if not isinstance(model, nn.Module):  # a checkpoint's dictionary, say
        message = f"a torch.nn.Module is adapted; {type(model).__name__} came"
        raise UsageError(message)
    if any(True for _ in lora_layers(model)):
        message = "this model has adapters already; fold_lora folds them in and remove_lora removes them, then others may be added"
        raise UsageError(message)
    found = targets(model, settings)
    if "" in found:
        message = "the model itself is a target; wrap it, as in nn.Sequential(model), or call LoRA(model)"
        raise UsageError(message)
    return found


def install(model: nn.Module, adapters: Mapping[str, LoRA], settings: Settings) -> None:
    """Freeze the model and put each adapter in its module's place, under every name that the module has."""
    model.requires_grad_(requires_grad=False)
    by_module = {id(adapter.base_layer): adapter for adapter in adapters.values()}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # noqa: SLF001 - named_children leaves out a second name of one child
            if id(child) in by_module:
                setattr(parent, name, by_module[id(child)])
    setattr(model, _SETTINGS, settings)


def settings_of(model: nn.Module) -> Settings:
    """The settings that a model's adapters were added with. Raises UsageError if it has none."""
    adapters = dict(lora_layers(model))
    if not adapters:
        message = "this model has no adapter; add one with add_lora"
        raise UsageError(message)
    known = getattr(model, _SETTINGS, None)
    if isinstance(known, Settings) and set(targets_of(known, adapters)) == set(adapters):
        return known
    first = next(iter(adapters.values()))
    if any(one.use_rslora != first.use_rslora for one in adapters.values()):
        message = "some adapters are scaled by alpha / r and some by alpha / sqrt(r); one folder holds adapters of one kind"
        raise UsageError(message)
    patterns = ({name: one.rank for name, one in adapters.items()}, {name: one.alpha for name, one in adapters.items()})
    return Settings(
        first.rank, first.alpha, first.dropout, sorted(adapters), use_rslora=first.use_rslora,
        rank_pattern={name: rank for name, rank in patterns[0].items() if rank != first.rank},
        alpha_pattern={name: alpha for name, alpha in patterns[1].items() if alpha != first.alpha},
    )  # fmt: skip


def targets_of(settings: Settings, adapters: Mapping[str, LoRA]) -> Iterator[str]:
    """Names of the adapters that agree with the settings."""
    for name, one in adapters.items():
        if settings.of(name) == (one.rank, one.alpha) and settings.use_rslora == one.use_rslora:
            yield name


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRA]]:
    """The adapters of a model, by name."""
    for name, module in model.named_modules():
        if isinstance(module, LoRA):
            yield name, module


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The factors alone, `<path>.lora_A` (r, i) and `<path>.lora_B` (o, r), detached, for `load_state_dict(..., strict=False)`.

    Raises UsageError for a model without adapters.
    """
    settings_of(model)
    pairs = ((name, {"lora_A": layer.lora_A, "lora_B": layer.lora_B}) for name, layer in lora_layers(model))
    return {f"{name}.{factor}": one.detach() for name, both in pairs for factor, one in both.items()}


def merge_lora(model: nn.Module) -> nn.Module:
    """Merge every adapter of a model (see `LoRA.merge`) for evaluation; `unmerge_lora` or `train()` undoes it exactly."""
    settings_of(model)
    for _, layer in lora_layers(model):
        layer.merge()
    return model


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Undo `merge_lora`: the original weights are bit for bit what they were."""
    settings_of(model)
    for _, layer in lora_layers(model):
        layer.unmerge()
    return model


def fold_lora(model: nn.Module) -> nn.Module:
    """Write W + s B A into the linear layers and put them back in the adapters' place: a plain model, for good.

    A weight shared with another module is not written into: the layer gets a weight of its own. Parameters stay frozen.
    Raises UsageError, with nothing folded, for a layer whose weight is computed from other parameters.
    """
    settings_of(model)
    for name, layer in lora_layers(model):
        if not isinstance(layer.base_layer.weight, nn.Parameter):  # it would be computed again over what was folded in
            message = f"{name} computes its weight from other parameters (a norm, or pruning): remove that before it is folded"
            raise UsageError(message)
    return _put_back(model, fold=True)


def remove_lora(model: nn.Module) -> nn.Module:
    """Put the linear layers back as they were before `add_lora`, without what the adapters learned. Parameters stay frozen."""
    return _put_back(model, fold=False)


@torch.no_grad()
def _put_back(model: nn.Module, *, fold: bool) -> nn.Module:
    settings_of(model)
    if fold:
        for _, layer in lora_layers(model):
            layer.unmerge()
            layer.base_layer.weight = nn.Parameter(layer.weight.contiguous(), requires_grad=False)
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # noqa: SLF001 - as in `install`
            if isinstance(child, LoRA):
                setattr(parent, name, child.base_layer)
    if hasattr(model, _SETTINGS):
        delattr(model, _SETTINGS)
    return model
