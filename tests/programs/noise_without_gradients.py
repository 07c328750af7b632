"""Training mode without gradients, on purpose: dropout to sample, statistics taken in again, a model as its own teacher."""
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

torch.manual_seed(6)
model = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3))
average = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
x = torch.randn(128, 6)
y = x[:, :3].argmax(1)
pool = torch.randn(40, 6)
for step in range(24):
    rows = torch.randint(128, (16,))
    with torch.no_grad():
        teacher = model(pool[step : step + 8]).softmax(1)
    optimizer.zero_grad()
    student = model(pool[step : step + 8] + 0.1).softmax(1)
    loss = nn.functional.cross_entropy(model(x[rows]), y[rows]) + nn.functional.mse_loss(student, teacher)
    loss.backward()
    optimizer.step()
    average.update_parameters(model)
    if step % 6 == 5:
        with torch.no_grad():
            drawn = torch.stack([model(pool).softmax(1) for _ in range(5)])
            picked = drawn.std(0).sum(1).topk(3).indices
        print(loss.item().hex(), picked.tolist())
update_bn(x.split(32), average)
print(average.module[1].running_mean.sum().item().hex())
