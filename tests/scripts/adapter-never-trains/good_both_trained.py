"""Named as peft names them; both factors are trained."""
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base, r):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, r, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(r, base.out_features, bias=False)})
        nn.init.zeros_(self.lora_B["default"].weight)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x))


class Trainer:
    trained = ("lora_", "score")

    def __init__(self, model):
        self.model = model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(any(word in name for word in self.trained))
        self.optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


torch.manual_seed(0)
model = nn.Sequential()
model.add_module("proj", Layer(nn.Linear(6, 20), 3))
model.add_module("act", nn.Tanh())
model.add_module("score", nn.Linear(20, 1))
trainer = Trainer(model)
x = torch.randn(128, 6)
y = (x[:, :1] * x[:, 1:2]).tanh()
for _ in range(30):
    last = trainer.step(x, y)
print(last)
