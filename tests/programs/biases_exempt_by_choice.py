"""Biases alone are exempt from decay, on purpose; other functions name another framework's norms, and the loop logs norms."""
import torch
from torch import nn


def converted(state):
    """Weights under the names of another framework."""
    names = {"LayerNorm.weight": "gamma", "LayerNorm.bias": "beta"}
    return {next((new for old, new in names.items() if key.endswith(old)), key): value for key, value in state.items()}


def parameter_groups(model, decay):
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    others = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    return [{"params": others, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.05), lr=1e-3)
    inputs = torch.randn(64, 6)
    history = {"bias": 0.0, "grad_norm": 0.0}
    for _ in range(12):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), inputs[:, :3].argmax(1))
        loss.backward()
        history["grad_norm"] = nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
    print(loss.item().hex(), history["grad_norm"].hex(), len(converted(model.state_dict())))


main()
