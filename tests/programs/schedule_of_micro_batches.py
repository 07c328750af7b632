"""Gradients add up over micro-batches, and the schedules are laid out in micro-batches: they end with the run."""
import torch
from torch import nn
from torch.optim import lr_scheduler

MICRO, ACCUMULATE = 96, 4


def train(make):
    torch.manual_seed(4)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    schedule = make(optimizer)
    for number in range(1, MICRO + 1):
        x = torch.randn(8, 5)
        loss = nn.functional.mse_loss(model(x), x.sum(1, keepdim=True))
        (loss / ACCUMULATE).backward()
        if number % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
        if number >= ACCUMULATE:
            schedule.step()
    print(optimizer.param_groups[0]["lr"].hex(), loss.item().hex())


train(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.01, total_iters=MICRO))
train(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=MICRO))
train(lambda o: lr_scheduler.LambdaLR(o, lambda step: max(0.0, 1 - step / MICRO)))
train(lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=MICRO))
