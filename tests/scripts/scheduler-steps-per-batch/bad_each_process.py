"""Made for two processes, run in one: the schedule is moved once for each of them."""
import torch
import torch.nn.functional as F

num_processes = 2


def train(steps):
    torch.manual_seed(6)
    weight = torch.nn.Linear(5, 5)
    optimizer = torch.optim.Adam(weight.parameters(), lr=0.02)
    lr_scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.97)
    for _ in range(steps):
        x = torch.randn(32, 5)
        loss = F.mse_loss(weight(x), x.flip(1))
        loss.backward()
        optimizer.step()
        for _ in range(num_processes):
            lr_scheduler.step()
        optimizer.zero_grad()


train(40)
