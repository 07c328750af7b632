"""Adaptation: low-rank adapters and their PEFT folders, soft prompts, and initialisations learned over tasks."""

from torchstone.parts.adaptation.folder import load_adapter, save_adapter
from torchstone.parts.adaptation.lora import LoRA
from torchstone.parts.adaptation.meta import MAML, Reptile
from torchstone.parts.adaptation.model import add_lora, fold_lora, lora_state_dict, merge_lora, remove_lora, unmerge_lora
from torchstone.parts.adaptation.prompt import SoftPrompt

__all__ = [
    "MAML",
    "LoRA",
    "Reptile",
    "SoftPrompt",
    "add_lora",
    "fold_lora",
    "load_adapter",
    "lora_state_dict",
    "merge_lora",
    "remove_lora",
    "save_adapter",
    "unmerge_lora",
]
