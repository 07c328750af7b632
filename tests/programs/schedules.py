"""Schedules of many kinds, moved once an epoch, once a step, to fractions of an epoch, and by a measure."""
import torch
from torch import nn
from torch.optim import lr_scheduler

EPOCHS, BATCHES = 4, 6


def parts(optimizer):
    return [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5), lr_scheduler.CosineAnnealingLR(optimizer, 19)]


def train(make, when):
    torch.manual_seed(3)
    model = nn.Linear(5, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = make(optimizer)
    for epoch in range(EPOCHS):
        for batch in range(BATCHES):
            x = torch.randn(16, 5)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
            loss.backward()
            optimizer.step()
            if when == "step":
                schedule.step()
            if when == "fraction":
                schedule.step(epoch + batch / BATCHES)
        if when == "epoch":
            schedule.step()
        if when == "measure":
            schedule.step(loss.item())
        print(optimizer.param_groups[0]["lr"].hex(), loss.item().hex())


train(lambda o: lr_scheduler.StepLR(o, 2), "epoch")
train(lambda o: lr_scheduler.OneCycleLR(o, 0.2, total_steps=EPOCHS * BATCHES), "step")
train(lambda o: lr_scheduler.SequentialLR(o, parts(o), [5]), "step")
train(lambda o: lr_scheduler.ChainedScheduler(parts(o)), "step")
train(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2), "fraction")
train(lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0), "measure")
train(lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step), "step")
