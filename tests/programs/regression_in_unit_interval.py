import torch
from torch import nn

torch.manual_seed(0)
gate = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1), nn.Sigmoid())
mask = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 4), nn.Sigmoid())
optimizer = torch.optim.Adam([*gate.parameters(), *mask.parameters()], lr=1e-2)
for _ in range(10):
    x = torch.rand(32, 6)
    brightness = nn.functional.mse_loss(gate(x), 1000 * x.mean(1, keepdim=True))
    present = nn.functional.binary_cross_entropy(mask(x), (x[:, :4] > 0.5).float())
    loss = brightness / 1e6 + present
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
