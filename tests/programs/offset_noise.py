import torch
from torch import nn

torch.manual_seed(0)
net = nn.Conv2d(1, 1, 3, padding=1)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
for _ in range(6):
    x = torch.randn(8, 1, 6, 6)
    t = torch.randint(0, 1000, (8,))
    noise = torch.randn_like(x) + 0.1 * torch.randn(8, 1, 1, 1)
    shown = noise + 0.1 * torch.randn_like(noise)
    a = alphas[t].view(-1, 1, 1, 1)
    loss = nn.functional.mse_loss(net(a.sqrt() * x + (1 - a).sqrt() * shown), noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
