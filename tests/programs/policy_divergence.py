import torch
from torch import distributions, nn

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))
critic = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1)).requires_grad_(False)
optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)


def acting(states):
    mean, spread = policy(states).chunk(2, dim=-1)
    return distributions.Normal(mean, nn.functional.softplus(spread))


# A trust region: the policy stays near the one before, and all states are acted on nearly alike.
for step in range(60):
    states = 0.05 * torch.randn(32, 6)
    with torch.no_grad():
        before = acting(states)
    for _ in range(2):
        now = acting(states)
        gained = critic(torch.cat([states, torch.tanh(now.rsample())], dim=-1)).mean()
        apart = distributions.kl_divergence(now, before).sum(-1).mean()
        loss = 10 * apart - gained
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if step % 10 == 0:
        print(loss.item().hex())
