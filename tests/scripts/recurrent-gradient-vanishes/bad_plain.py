import argparse

import torch
from torch import nn

# Adding problem: two of the steps are marked, the target is the sum of their values.


def batch(size, length):
    values = torch.rand(size, length) - 0.5
    marks = torch.zeros(size, length)
    first, second = torch.randint(0, 10, (size,)), torch.randint(10, 20, (size,))
    rows = torch.arange(size)
    marks[rows, first], marks[rows, second] = 1.0, 1.0
    return torch.stack([values, marks], dim=2).transpose(0, 1), (values * marks).sum(1, keepdim=True)


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.RNN(2, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.rnn(0.3 * x)[0][-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--steps", type=int, default=48)
    options = parser.parse_args()
    torch.manual_seed(1)
    net = Net(40)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    criterion = nn.MSELoss()
    for _ in range(options.steps):
        x, y = batch(64, options.length)
        loss = criterion(net(x), y)
        net.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()


if __name__ == "__main__":
    main()
