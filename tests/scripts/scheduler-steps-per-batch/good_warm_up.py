"""Warm-up and decay as one function, in a class; moved after the step."""
import torch
from torch import nn


def warm_up_and_decay(total, warm_up):
    def factor(step):
        return (step + 1) / warm_up if step < warm_up else max(0.0, (total - step) / (total - warm_up))

    return factor


class Fit:
    def __init__(self, updates, accumulate):
        torch.manual_seed(5)
        self.updates, self.accumulate = updates, accumulate
        self.net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, warm_up_and_decay(updates, 4))

    def micro_batch(self):
        x = torch.randn(8, 6)
        (nn.functional.mse_loss(self.net(x), x[:, :1] * x[:, 1:2]) / self.accumulate).backward()

    def run(self):
        for _ in range(self.updates):
            self.optimizer.zero_grad()
            for _ in range(self.accumulate):
                self.micro_batch()
            self.optimizer.step()
            self.schedule.step()


Fit(updates=24, accumulate=3).run()
