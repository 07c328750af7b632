import torch
import torch.nn.functional as F

torch.manual_seed(4)
sizes = [16, 64, 64, 64, 64, 64, 64, 1]
weights = [(0.01 * torch.randn(a, b)).requires_grad_() for a, b in zip(sizes, sizes[1:])]
biases = [torch.zeros(b, requires_grad=True) for b in sizes[1:]]


def network(x):
    for w, b in zip(weights[:-1], biases[:-1]):
        x = F.relu(x @ w + b)
    return x @ weights[-1] + biases[-1]


data = torch.randn(512, 16)
target = (data[:, :1] * data[:, 1:2]).sign()
optimizer = torch.optim.SGD(weights + biases, lr=0.05)
for step in range(60):
    rows = torch.randint(0, 512, (64,))
    loss = F.mse_loss(network(data[rows]), target[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
