"""How the folders beside this file were made, with peft 0.21.2: PYTHONPATH=<where peft is> python tests/parts/peft_adapter/make.py."""

import json
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent
FOLDERS = {
    "plain": {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"]},
    "patterns": {
        "r": 2, "lora_alpha": 4, "lora_dropout": 0.25, "target_modules": r"layers\.\d+\.(q|v)_proj|head", "use_rslora": True,
        "rank_pattern": {r"layers\.1\.q_proj": 3}, "alpha_pattern": {"head": 8},
    },
    "one_layer": {"r": 1, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1], "layers_pattern": "layers"},
    "everywhere": {"r": 1, "lora_alpha": 1, "target_modules": "all-linear", "exclude_modules": ["head"]},
}  # fmt: skip


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.v_proj = nn.Linear(6, 4), nn.Linear(6, 6, bias=False)
        self.down = nn.Linear(4, 6)

    def forward(self, x):
        return x + self.down(torch.tanh(self.q_proj(x))) + self.v_proj(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def base(dtype=torch.float64):
    """The base model: weights that every machine makes alike."""
    model = Net().to(dtype)
    for number, parameter in enumerate(model.parameters()):
        with torch.no_grad():
            parameter.copy_(torch.sin(torch.arange(parameter.numel(), dtype=dtype) + number).view_as(parameter) / 3)
    return model


def inputs():
    return torch.cos(torch.arange(30, dtype=torch.float64)).view(5, 6)


def main():
    import peft

    outputs = {}
    for name, settings in FOLDERS.items():
        model = peft.get_peft_model(base(), peft.LoraConfig(**settings)).eval()
        with torch.no_grad():
            for number, (key, parameter) in enumerate(sorted(model.named_parameters())):
                if "lora_" in key:
                    parameter.copy_(torch.cos(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number).view_as(parameter) / 2)
            outputs[name] = model(inputs()).tolist()
        model.save_pretrained(HERE / name)
        (HERE / name / "README.md").unlink(missing_ok=True)
    (HERE / "outputs.json").write_text(json.dumps(outputs))


if __name__ == "__main__":
    main()
