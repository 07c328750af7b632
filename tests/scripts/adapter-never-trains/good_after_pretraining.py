"""A model is trained, then frozen and given adapters of the user's own, one factor drawn."""
import torch
from torch import nn


class Low(nn.Module):
    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(0.1 * torch.randn(rank, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T


class Trainer:
    def __init__(self, model, parameters, rate):
        self.model, self.optimizer = model, torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)

    def fit(self, inputs, labels, epochs):
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(32):
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(inputs[rows]), labels[rows])
                loss.backward()
                self.optimizer.step()
        return loss.item()


def main():
    torch.manual_seed(0)
    inputs = torch.randn(128, 8)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    print(Trainer(model, model.parameters(), 1e-2).fit(inputs, inputs[:, :3].argmax(1), 4))
    model.requires_grad_(False)
    model[0] = Low(model[0])
    adapters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    print(Trainer(model, adapters, 1e-2).fit(inputs, inputs[:, 3:6].argmax(1), 4))


main()
