import torch
from torch import nn
from torch.nn import functional as F


class Denoiser(nn.Module):
    def __init__(self, steps=150):
        super().__init__()
        betas = torch.linspace(1e-4, 0.02, steps) * 1000 / steps
        left = torch.cumprod(1.0 - betas, dim=0)
        self.steps = steps
        self.register_buffer("sqrt_left", left.sqrt())
        self.register_buffer("sqrt_gone", (1.0 - left).sqrt())
        self.time = nn.Embedding(steps, 16)
        self.into, self.out = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 1, 3, padding=1)

    def extract(self, table, t, x):
        return table.gather(0, t).reshape(-1, *([1] * (x.dim() - 1)))

    def q_sample(self, x, t, noise):
        return self.extract(self.sqrt_left, t, x) * x + self.extract(self.sqrt_gone, t, x) * noise

    def forward(self, x):
        t = torch.randint(0, self.steps, (x.shape[0],))
        noise = torch.randn_like(x)
        noisy = self.q_sample(x, t, noise)
        hidden = F.silu(self.into(noisy) + self.time(t)[:, :, None, None])
        return F.mse_loss(self.out(hidden), noise)


torch.manual_seed(4)
model = Denoiser()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
loader = torch.utils.data.DataLoader(torch.rand(96, 1, 8, 8) * 2 - 1, batch_size=16, shuffle=True)
for images in loader:
    optimizer.zero_grad()
    loss = model(images)
    loss.backward()
    optimizer.step()
