import torch
from torch import nn


def train(steps=10):
    torch.manual_seed(5)
    alpha_bar = torch.cos(torch.linspace(0.008, 1.0, 400) * torch.pi / 2) ** 2
    net = nn.Sequential(nn.Linear(9, 48), nn.GELU(), nn.Linear(48, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    points = torch.randn(512, 8)
    for _ in range(steps):
        x = points[torch.randperm(512)[:64]]
        t = torch.randint(400, (64, 1))
        eps = torch.randn(x.shape)
        x_t = (1 - alpha_bar[t]) ** 0.5 * eps + alpha_bar[t] ** 0.5 * x
        guess = net(torch.cat((x_t, t / 400), dim=-1))
        loss = ((guess - eps) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train()
