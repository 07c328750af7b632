"""Loss scaling and clipping in four ways that agree: unscaled first, limit scaled along, divided by hand, scaler off."""
import torch
from torch import nn


def train(way, enabled=True):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=enabled, growth_interval=7)
    for _ in range(12):
        x = torch.randn(32, 8)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), x[:, :3].argmax(1))
        scaler.scale(loss).backward()
        if way == "unscaled":
            scaler.unscale_(optimizer)
        if way == "by hand":
            for p in model.parameters():
                p.grad.div_(scaler.get_scale())
        factor = scaler.get_scale() if way == "limit" else 1.0
        nn.utils.clip_grad_norm_(model.parameters(), 0.25 * factor)
        if way == "by hand":
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        print(loss.item().hex())


train("unscaled")
train("limit")
train("by hand")
train("off", enabled=False)
