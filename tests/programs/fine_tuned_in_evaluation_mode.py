"""Fine-tuning in evaluation mode from the start; then a temperature fitted to a model that was trained and evaluated."""
import torch
from torch import nn

torch.manual_seed(5)
x = torch.randn(96, 6)
y = x[:, :3].argmax(1)


def network():
    return nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3))


def epoch(model, optimizer):
    for rows in torch.arange(64).split(16):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print(loss.item().hex())


tuned = network()
tuned(x)  # statistics of the data, as of a model trained before
tuned.eval()
optimizer = torch.optim.SGD(tuned.parameters(), lr=0.05)
for _ in range(4):
    epoch(tuned, optimizer)
    with torch.no_grad():
        print((tuned(x[64:]).argmax(1) == y[64:]).float().mean().item().hex())

frozen = network()
optimizer = torch.optim.SGD(frozen.parameters(), lr=0.05)
for number in range(4):
    frozen.train()
    if number >= 2:
        frozen[1].eval()
    epoch(frozen, optimizer)
    frozen.eval()
    with torch.no_grad():
        print((frozen(x[64:]).argmax(1) == y[64:]).float().mean().item().hex())
temperature = nn.Parameter(torch.ones(()))
fit = torch.optim.SGD([temperature], lr=0.1)
for _ in range(10):
    fit.zero_grad()
    nn.functional.cross_entropy(frozen(x[64:]).detach() / temperature, y[64:]).backward()
    fit.step()
print(temperature.item().hex())
for _ in range(6):  # an attack: gradients of the inputs, in evaluation mode
    moved = x[64:].clone().requires_grad_()
    (slope,) = torch.autograd.grad(nn.functional.cross_entropy(frozen(moved), y[64:]), moved)
    print(slope.abs().sum().item().hex())
