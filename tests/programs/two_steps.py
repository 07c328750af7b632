"""Sharpness-aware minimisation: an optimizer that holds another one."""
import torch
from torch import nn


class SAM(torch.optim.Optimizer):
    def __init__(self, parameters, base, rho=0.05, **options):
        super().__init__(parameters, {"rho": rho, **options})
        self.base = base(self.param_groups, **options)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        norm = torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]).norm()
        kept = []
        for group in self.param_groups:
            for p in group["params"]:
                e = p.grad * (0.05 / (norm + 1e-12))
                p.add_(e)
                kept.append((p, e))
        self.zero_grad()
        closure()
        for p, e in kept:
            p.sub_(e)
        self.base.step()
        self.zero_grad()


torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = SAM(model.parameters(), torch.optim.SGD, lr=0.1)
for _ in range(10):
    x = torch.randn(32, 8)
    y = x[:, :3].argmax(1)

    def closure():
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    loss = closure()
    optimizer.step(closure)
    print(loss.item().hex())
