"""A classifier behind a variational bottleneck."""

import torch
from torch import distributions, nn


class Bottleneck(nn.Module):
    def __init__(self, features=20, latents=4, classes=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, 32), nn.SiLU())
        self.mean, self.scale = nn.Linear(32, latents), nn.Linear(32, latents)
        self.head = nn.Linear(latents, classes)

    def forward(self, rows):
        features = self.body(rows)
        code = distributions.Normal(self.mean(features), nn.functional.softplus(self.scale(features)))
        return self.head(code.rsample()), code


def main(beta):
    torch.manual_seed(4)
    centres = torch.randn(5, 20)
    labels = torch.randint(5, (400,))
    rows = centres[labels] + 0.3 * torch.randn(400, 20)
    net, prior = Bottleneck(), distributions.Normal(0.0, 1.0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.0)
    criterion = nn.CrossEntropyLoss()
    for _ in range(15):
        for chosen in torch.randperm(400).split(40):
            scores, code = net(rows[chosen])
            divergence = distributions.kl_divergence(code, prior).sum(dim=1).mean()
            loss = criterion(scores, labels[chosen]) + beta * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main(beta=10.0)
