"""Two optimizers: each clip names its own tensors, and one of them all tensors; the critic steps more often."""
import torch
from torch import nn

torch.manual_seed(1)
make = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
judge = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
of_make, of_judge = torch.optim.RMSprop(make.parameters(), 1e-3), torch.optim.RMSprop(judge.parameters(), 1e-3)
decay = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99) for optimizer in (of_make, of_judge)]
everything = [*make.parameters(), *judge.parameters()]
for step in range(36):
    real, fake = torch.randn(32, 2) + 3, make(torch.randn(32, 4))
    of_judge.zero_grad()
    loss = judge(fake.detach()).mean() - judge(real).mean()
    loss.backward()
    nn.utils.clip_grad_value_(judge.parameters(), 0.02)
    of_judge.step()
    if step % 3 == 2:
        of_make.zero_grad()
        loss = -judge(fake).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(everything, 0.5)
        of_make.step()
    for schedule in decay:
        schedule.step()
    print(loss.item().hex())
