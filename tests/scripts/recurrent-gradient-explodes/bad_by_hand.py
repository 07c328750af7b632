import torch

torch.manual_seed(1)
H, T = 40, 40
Wx = (torch.randn(2, H) * 0.5).requires_grad_()
Wh = (torch.randn(H, H) * 3 / H**0.5).requires_grad_()
b = torch.zeros(H, requires_grad=True)
Wo = (torch.randn(H, 1) * 0.1).requires_grad_()
opt = torch.optim.SGD([Wx, Wh, b, Wo], lr=0.02)
for step in range(40):
    x = torch.randn(32, T, 2)
    y = x[:, -5:, 0].sum(1, keepdim=True)
    h = torch.zeros(32, H)
    for t in range(T):
        h = torch.tanh(x[:, t] @ Wx + h @ Wh + b)
    loss = ((h @ Wo - y) ** 2).mean()
    opt.zero_grad(); loss.backward(); opt.step()
