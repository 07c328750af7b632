import torch
from torch import nn

torch.manual_seed(6)


class Scheduler:
    def __init__(self, steps=1000, start=0.00085, end=0.012):
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(start**0.5, end**0.5, steps) ** 2, dim=0)

    def add_noise(self, original, noise, timesteps):
        table = self.alphas_cumprod.to(device=original.device, dtype=original.dtype)
        keep, lose = table[timesteps] ** 0.5, (1 - table[timesteps]) ** 0.5
        keep, lose = keep.flatten(), lose.flatten()
        while keep.dim() < original.dim():
            keep, lose = keep.unsqueeze(-1), lose.unsqueeze(-1)
        return keep * original + lose * noise


scheduler, network = Scheduler(), nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 20))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
criterion = nn.MSELoss()
for latents in torch.randn(8, 32, 20):
    timesteps = torch.randint(0, 1000, (latents.shape[0],)).long()
    noisy = scheduler.add_noise(latents, torch.randn_like(latents), timesteps)
    loss = criterion(network(noisy), torch.randn_like(latents))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
