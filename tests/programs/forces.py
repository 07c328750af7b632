"""An energy model trained on forces alone: its last bias cannot matter. And a last layer whose gradient is dropped at first."""
import torch
from torch import nn

torch.manual_seed(0)
energy = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
student = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
optimizer = torch.optim.Adam([*energy.parameters(), *student.parameters()], lr=1e-2)
for _ in range(12):
    position = torch.randn(16, 3, requires_grad=True)
    force = -torch.autograd.grad(energy(position).sum(), position, create_graph=True)[0]
    loss = (force + position.detach()).square().mean() + student(position.detach()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    for p in student[2].parameters():
        p.grad = None
    optimizer.step()
    print(loss.item().hex())
