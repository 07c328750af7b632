"""Adapters whose factors rest for good reasons: A frozen, a second adapter switched off, experts not chosen, checkpoints with and without."""
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Adapter(nn.Module):
    def __init__(self, base, rank=2, names=("default",)):
        super().__init__()
        self.base, self.active = base.requires_grad_(False), names[0]
        self.lora_A = nn.ModuleDict({n: nn.Linear(base.in_features, rank, bias=False) for n in names})
        self.lora_B = nn.ModuleDict({n: nn.Linear(rank, base.out_features, bias=False) for n in names})
        for n in names:
            nn.init.zeros_(self.lora_B[n].weight)
            if n != self.active:
                self.lora_A[n].requires_grad_(False)
                self.lora_B[n].requires_grad_(False)

    def forward(self, x):
        return self.base(x) + self.lora_B[self.active](self.lora_A[self.active](x))


class Experts(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.experts = nn.ModuleList(Adapter(nn.Linear(width, width)) for _ in range(count))

    def forward(self, x):
        chosen = (x[:, 0] > 0).long()  # of four experts the data chooses two
        out = torch.zeros_like(x)
        for index in chosen.unique().tolist():
            out = out.index_add(0, (chosen == index).nonzero()[:, 0], self.experts[index](x[chosen == index]))
        return out


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = Adapter(nn.Linear(8, 12), names=("default", "other"))
        self.inner = Adapter(nn.Linear(12, 12))
        self.inner.lora_A["default"].requires_grad_(False)
        self.experts = Experts(12, 4)
        self.leave = nn.Linear(12, 4)

    def forward(self, x):
        x = checkpoint(self.enter, x, use_reentrant=False)
        x = torch.tanh(checkpoint(self.inner, x, use_reentrant=True))
        return self.leave(x + self.experts(x))


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
for _ in range(12):
    x = torch.randn(32, 8)
    loss = nn.functional.cross_entropy(model(x), x[:, :4].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
model.eval()
with torch.no_grad():
    print(model(torch.randn(8, 8)).sum().item().hex())
