"""A recurrent classifier in a class; it clips after the backward pass."""
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(5, 20, batch_first=True)
        self.head = nn.Linear(20, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Trainer:
    limit = 0.05

    def __init__(self):
        torch.manual_seed(2)
        self.model = Tagger()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        self.loss = nn.CrossEntropyLoss()

    def step(self, x, y):
        loss = self.loss(self.model(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(self.model.parameters(), max_norm=self.limit)
        self.optimizer.step()

    def run(self):
        for _ in range(35):
            x = torch.randn(32, 7, 5)
            self.step(x, x.sum((1, 2)).sign().long() + 1)


if __name__ == "__main__":
    Trainer().run()
