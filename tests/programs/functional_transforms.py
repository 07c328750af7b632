import torch
from torch import nn
from torch.func import functional_call, grad, vmap

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def loss_of(parameters, x, y):
    return nn.functional.cross_entropy(functional_call(model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))


for _ in range(6):
    x, y = torch.randn(16, 4), torch.randint(0, 2, (16,))
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    each = vmap(grad(loss_of), in_dims=(None, 0, 0))(parameters, x, y)
    optimizer.zero_grad()
    for name, p in model.named_parameters():
        p.grad = each[name].mean(0)
    optimizer.step()
    print(sum(g.norm().item() for g in each.values()).hex())
