"""Gradients come from autograd.grad and are put into .grad; a second model trains by backward()."""
import torch
from torch import nn

torch.manual_seed(0)
policy, value = nn.Linear(5, 3), nn.Linear(5, 1)
policy_optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
value_optimizer = torch.optim.SGD(value.parameters(), lr=0.1)
for _ in range(20):
    x = torch.randn(16, 5)
    loss = nn.functional.cross_entropy(policy(x), x[:, :3].argmax(1))
    for p, g in zip(policy.parameters(), torch.autograd.grad(loss, list(policy.parameters()))):
        p.grad = g / (1 + g.norm())
    policy_optimizer.step()
    value_loss = (value(x).squeeze(1) - x.sum(1)).square().mean()
    value_optimizer.zero_grad()
    value_loss.backward()
    value_optimizer.step()
    print(loss.item().hex(), value_loss.item().hex())
