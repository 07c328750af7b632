"""A generator draws pictures in training mode now and then; rollouts of a policy with dropout come before its updates."""
import torch
from torch import nn

torch.manual_seed(7)
policy = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
for round_ in range(4):
    state, seen = torch.randn(3), []
    with torch.no_grad():
        for _ in range(8):
            logits = policy(state.unsqueeze(0))
            action = torch.multinomial(logits.softmax(1), 1).item()
            seen.append((state, action, float(state[action])))
            state = torch.randn(3)
    states = torch.stack([state for state, _, _ in seen])
    actions = torch.tensor([action for _, action, _ in seen])
    returns = torch.tensor([reward for _, _, reward in seen])
    for _ in range(4):
        optimizer.zero_grad()
        chosen = policy(states).log_softmax(1)[torch.arange(8), actions]
        loss = -(chosen * (returns - returns.mean())).mean()
        loss.backward()
        optimizer.step()
    print(loss.item().hex())
    with torch.no_grad():
        pictures = torch.stack([policy(torch.randn(2, 3)) for _ in range(3)])
    print(pictures.sum().item().hex())
