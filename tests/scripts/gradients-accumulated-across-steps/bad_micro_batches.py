"""Micro-batches add up as meant, but nothing clears the sum after the step."""
import torch
from torch import nn


class Trainer:
    accumulate = 3

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.5)

    def micro(self):
        x = torch.randn(16, 6)
        (nn.functional.cross_entropy(self.model(x), (x[:, 0] > 0).long()) / self.accumulate).backward()

    def run(self, steps):
        for _ in range(steps):
            for _ in range(self.accumulate):
                self.micro()
            self.optimizer.step()


Trainer().run(30)
