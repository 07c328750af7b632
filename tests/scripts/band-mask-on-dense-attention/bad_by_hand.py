# scores, mask and softmax written out; a window on both sides
import torch

torch.manual_seed(1)
T, D, H, R = 640, 24, 3, 12
x = torch.randn(2, T, D)
y = torch.nn.functional.avg_pool1d(x.transpose(1, 2), 2 * R + 1, 1, R).transpose(1, 2)
wq, wk, wv, wo = (torch.nn.Parameter(torch.randn(D, D) / D**0.5) for _ in range(4))
opt = torch.optim.Adam([wq, wk, wv, wo], lr=1e-2)
i = torch.arange(T)
far = (i[:, None] - i[None, :]).abs() > R
for step in range(8):
    q, k, v = ((x @ w).view(2, T, H, D // H).transpose(1, 2) for w in (wq, wk, wv))
    scores = q @ k.transpose(-2, -1) / (D // H) ** 0.5
    scores = scores.masked_fill(far, float("-inf"))
    weights = torch.softmax(scores, dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(2, T, D) @ wo
    loss = (out - y).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    print(step, loss.item())
