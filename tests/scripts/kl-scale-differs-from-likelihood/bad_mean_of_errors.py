import torch
from torch import distributions, nn


class Autoencoder(nn.Module):
    """A normal code of a small image, decoded to its pixels."""

    def __init__(self, pixels=100, latents=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(pixels, 32), nn.ReLU())
        self.mean, self.scale = nn.Linear(32, latents), nn.Linear(32, latents)
        self.decoder = nn.Sequential(nn.Linear(latents, 32), nn.ReLU(), nn.Linear(32, pixels))

    def forward(self, images):
        features = self.body(images)
        return distributions.Normal(self.mean(features), nn.functional.softplus(self.scale(features)))


def main():
    torch.manual_seed(2)
    net = Autoencoder()
    prior = distributions.Normal(0.0, 1.0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
    criterion = nn.MSELoss()
    data = torch.randn(200, 5) @ torch.randn(5, 100)
    for _ in range(4):
        for images in data.split(50):
            code = net(images)
            decoded = net.decoder(code.rsample())
            divergence = distributions.kl_divergence(code, prior).sum(dim=1).mean()
            loss = criterion(decoded, images) + divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
