import torch
from torch import nn

torch.manual_seed(3)
encode = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(128, 2 * 16))
decode = nn.Sequential(nn.Linear(16, 128), nn.SiLU(), nn.Unflatten(1, (8, 4, 4)), nn.ConvTranspose2d(8, 1, 2, 2))
weights = [*encode.parameters(), *decode.parameters()]
optimizer = torch.optim.SGD(weights, lr=1e-4, momentum=0.9)
pictures = torch.randn(6, 24, 1, 8, 8)
for step in range(12):
    x = pictures[step % 6]
    mean, log_variance = encode(x).split(16, dim=1)
    noise = torch.randn(mean.shape)
    sample = torch.addcmul(mean, (log_variance / 2).exp(), noise)
    errors = (decode(sample) - x).square().sum(dim=(1, 2, 3))
    divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).mean(dim=1)
    loss = (errors + divergence).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
