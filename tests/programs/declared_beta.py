import torch
from torch import nn

torch.manual_seed(0)
encoder, decoder = nn.Linear(40, 20), nn.Linear(10, 40)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
for _ in range(8):
    x = torch.randn(20, 40)
    mu, logvar = encoder(x).chunk(2, 1)
    z = mu + (logvar / 2).exp() * torch.randn_like(mu)
    errors = nn.functional.mse_loss(decoder(z), x, reduction="sum") / 20
    kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1).mean()
    loss = errors + 0.1 * kl
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
