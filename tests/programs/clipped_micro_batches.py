"""Every micro-batch is clipped by itself and noise is added to the sum: at the step the norm is above the limit."""
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

torch.manual_seed(0)
model = nn.Linear(6, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(20):
    optimizer.zero_grad()
    total = [torch.zeros_like(p) for p in model.parameters()]
    for _ in range(4):
        x = torch.randn(8, 6)
        model.zero_grad()
        nn.functional.mse_loss(model(x), 9 * x.sum(1, keepdim=True)).backward()
        clip_grad_norm_((p for p in model.parameters()), 1.0)
        for kept, p in zip(total, model.parameters()):
            kept += p.grad
    for kept, p in zip(total, model.parameters()):
        p.grad = kept + 0.5 * torch.randn_like(kept)
    optimizer.step()
    print(clip_grad_norm_(model.parameters(), float("inf")).item().hex())

other = nn.Linear(6, 1)
optimizer = torch.optim.SGD(other.parameters(), lr=0.01)
for step in range(12):
    optimizer.zero_grad()
    for _ in range(3):
        x = torch.randn(8, 6)
        nn.functional.mse_loss(other(x), 9 * x.sum(1, keepdim=True)).backward()
        clip_grad_norm_(other.parameters(), 1.0, norm_type=float("inf"))
    for p in other.parameters():
        p.grad.mul_(5.0)
    optimizer.step()
    print(other.weight.sum().item().hex())
