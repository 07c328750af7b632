"""Micro-batches add up; each element is to be clamped, but the step is already over."""
import torch
import torch.nn as nn


def batches(count):
    for _ in range(count):
        x = torch.randn(16, 10)
        yield x, (x @ torch.arange(10.0)).unsqueeze(1)


def main():
    torch.manual_seed(3)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    accumulate = 4
    for number, (x, y) in enumerate(batches(100), start=1):
        ((model(x) - y).pow(2).mean() / accumulate).backward()
        if number % accumulate == 0:
            optimizer.step()
            nn.utils.clip_grad_value_(model.parameters(), clip_value=0.5)
            optimizer.zero_grad()


main()
