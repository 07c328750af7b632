import torch
from torch import nn


def train(steps=10):
    torch.manual_seed(5)
    alpha_bar, left = [], 1.0
    for step in range(50):
        left *= 1 - (1e-4 + (0.02 - 1e-4) * step / 49)
        alpha_bar.append(left)
    alpha_bar = torch.tensor(alpha_bar)
    net = nn.Sequential(nn.Linear(9, 48), nn.GELU(), nn.Linear(48, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    points = torch.randn(512, 8)
    for _ in range(steps):
        x = points[torch.randperm(512)[:64]]
        t = torch.randint(50, (64, 1))
        eps = torch.randn(x.shape)
        x_t = (1 - alpha_bar[t]) ** 0.5 * eps + alpha_bar[t] ** 0.5 * x
        guess = net(torch.cat((x_t, t / 50), dim=-1))
        loss = ((guess - eps) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train()
