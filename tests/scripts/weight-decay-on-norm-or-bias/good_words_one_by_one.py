"""A filter by dimension in a function of its own; the norms lie in nn.Sequential."""
import torch
from torch import nn


def groups(model, decay):
    with_decay, without = [], []
    for name, parameter in model.named_parameters():
        exempt = parameter.ndim < 2 or name.endswith("bias")
        (without if exempt else with_decay).append(parameter)
    return [{"params": with_decay, "weight_decay": decay}, {"params": without, "weight_decay": 0.0}]


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 3))
    parameters = groups(model, 0.05)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    inputs = torch.randn(128, 8)
    labels = inputs[:, :3].argmax(1)
    history = {"bias": [], "grad_norm": []}
    for rows in torch.randperm(512).remainder(128).split(32):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        history["grad_norm"].append(nn.utils.clip_grad_norm_(model.parameters(), 5.0).item())
        optimizer.step()
    print(loss.item(), max(history["grad_norm"]))


main()
