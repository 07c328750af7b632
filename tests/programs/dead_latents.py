import torch
from torch import nn


class Autoencoder(nn.Module):
    """Twelve latents for data of two factors: ten of them end on the prior, and should."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(16, 24), nn.Linear(12, 16)

    def forward(self, rows):
        mean, log_variance = self.encoder(rows).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        errors = 0.5 * (self.decoder(code) - rows).pow(2).sum(1)
        divergence = 0.5 * (mean.pow(2) + log_variance.exp() - log_variance - 1)
        return errors, divergence


torch.manual_seed(0)
data = 2 * torch.randn(256, 2) @ torch.randn(2, 16) + 0.3 * torch.randn(256, 16)
model = Autoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
for step in range(120):
    errors, divergence = model(data[torch.randint(256, (32,))])
    loss = (errors + divergence.sum(1)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(loss.item().hex())
print(divergence.mean(0).sort().values[-3:].sum().item().hex(), int((divergence.mean(0) < 0.1).sum()))
