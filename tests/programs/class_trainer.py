import random

import torch
from torch import nn


class Trainer:
    def __init__(self, seed=1):
        torch.manual_seed(seed)
        random.seed(seed)
        self.network = nn.ModuleDict({"body": nn.GRU(4, 16, batch_first=True), "head": nn.Linear(16, 2)})
        self.optimizer = torch.optim.AdamW(
            [{"params": self.network["body"].parameters(), "lr": 1e-3}, {"params": self.network["head"].parameters(), "lr": 1e-2}]
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda t: min(1.0, t / 5))
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.data = [(torch.randn(5, 4), random.randint(0, 1)) for _ in range(64)]

    def batches(self):
        random.shuffle(self.data)
        for i in range(0, 64, 16):
            xs, ys = zip(*self.data[i : i + 16])
            yield torch.stack(xs), torch.tensor(ys)

    def fit(self, epochs):
        for _ in range(epochs):
            for x, y in self.batches():
                self.optimizer.zero_grad(set_to_none=False)
                states, _ = self.network["body"](x)
                loss = self.criterion(self.network["head"](states[:, -1]), y)
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimizer.step()
                self.schedule.step()
                print(loss.item().hex())


if __name__ == "__main__":
    Trainer().fit(5)
