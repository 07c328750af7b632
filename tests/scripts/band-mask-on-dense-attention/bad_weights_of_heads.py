# nn.MultiheadAttention called directly: it computes and averages the weights of its heads as well
import torch
from torch import nn

torch.manual_seed(0)
steps, length, window = 6, 512, 10
series = torch.sin(torch.arange(steps * length + 1) * 0.05) + 0.1 * torch.randn(steps * length + 1)
lift = nn.Linear(1, 16)
attention = nn.MultiheadAttention(16, 2)
head = nn.Linear(16, 1)
optimizer = torch.optim.SGD([*lift.parameters(), *attention.parameters(), *head.parameters()], lr=0.05)
ones = torch.ones(length, length, dtype=torch.bool)
hidden = torch.triu(ones, 1) | torch.tril(ones, -window - 1)
for step in range(steps):
    piece = series[step * length : (step + 1) * length + 1]
    x = lift(piece[:-1].view(length, 1, 1))
    mixed, _ = attention(x, x, x, attn_mask=hidden)
    loss = nn.functional.mse_loss(head(x + mixed).flatten(), piece[1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item())
