import torch

torch.manual_seed(0)
w1 = torch.randn(4, 16, requires_grad=True)
w2 = torch.zeros(16, 1, requires_grad=True)
for _ in range(12):
    x = torch.randn(32, 4)
    loss = ((torch.tanh(x @ w1) @ w2 - x.prod(1, keepdim=True)) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        for w in (w1, w2):
            w -= 0.1 * w.grad
            w.grad = None
    print(loss.item().hex())
