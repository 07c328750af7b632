"""A classifier's encoder gets adapters after the optimizer was built for the head."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Adapter(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        for parameter in linear.parameters():
            parameter.requires_grad = False
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.linear(x) + self.scale * self.up(self.down(x))


class Classifier(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(10, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.encoder(x))


def add_adapters(model, rank, alpha):
    for index, layer in enumerate(model.encoder):
        if isinstance(layer, nn.Linear):
            model.encoder[index] = Adapter(layer, rank, alpha)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rank", type=int, default=4)
    options = parser.parse_args()
    torch.manual_seed(1)
    model = Classifier()
    model.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    add_adapters(model, options.rank, alpha=8.0)
    x = torch.randn(256, 10)
    loader = DataLoader(TensorDataset(x, (x @ torch.randn(10, 3)).argmax(1)), batch_size=32, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(options.epochs):
        total = 0.0
        for features, labels in loader:
            loss = criterion(model(features), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(loader):.4f}")


if __name__ == "__main__":
    main()
