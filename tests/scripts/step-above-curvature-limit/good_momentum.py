"""A rate that momentum allows: linear regression on features of all sizes."""
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class Regression(torch.nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(features, outputs))
        self.bias = torch.nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


def train(model, loader, lr, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.5, nesterov=True)
    for _ in range(epochs):
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss


def main():
    torch.manual_seed(4)
    x = torch.randn(256, 12) * torch.linspace(0.2, 3.0, 12)
    y = x @ torch.randn(12, 3) + 0.1 * torch.randn(256, 3)
    print(train(Regression(12, 3), DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True), lr=0.05, epochs=5).item())


if __name__ == "__main__":
    main()
