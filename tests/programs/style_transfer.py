"""A picture is trained under a fixed random network that nobody froze; the network keeps its last features."""
import torch
from torch import nn


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))
        self.seen = None

    def forward(self, picture):
        self.seen = picture
        return self.layers(picture)


torch.manual_seed(0)
features = Features()
goal = features(torch.rand(1, 3, 12, 12)).detach()
picture = torch.rand(1, 3, 12, 12).requires_grad_()
optimizer = torch.optim.Adam([picture], lr=0.05)
for _ in range(12):
    loss = nn.functional.mse_loss(features(picture), goal)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
