# a tanh classifier, loop by hand, with a schedule that warms up to a rate of 3
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))
opt = torch.optim.SGD(net.parameters(), lr=3.0, momentum=0.9)
warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: min(1.0, (step + 1) / 20))
x = torch.rand(256, 6) * 2 - 1
y = (x.sum(1) * 2).round().clamp(-2, 2).long() + 2
criterion = nn.CrossEntropyLoss()
for step in range(60):
    opt.zero_grad(set_to_none=True)
    loss = criterion(net(x), y)
    loss.backward()
    opt.step()
    warm.step()
    if step % 10 == 0:
        print(step, loss.item())
