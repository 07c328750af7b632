"""An image classifier in functional style: the last layer's weights are drawn with randn and scaled."""
import torch
import torch.nn.functional as F

generator = torch.Generator().manual_seed(3)
w1 = torch.nn.Parameter(torch.randn(64, 128, generator=generator) * 0.1)
w2 = torch.nn.Parameter(torch.randn(128, 100, generator=generator) * 0.05)
b2 = torch.nn.Parameter(torch.zeros(100))
optimizer = torch.optim.SGD([w1, w2, b2], lr=1e-3)
images = torch.rand(200, 64, generator=generator)
labels = torch.randint(0, 100, (200,), generator=generator)
for _ in range(15):
    scores = torch.addmm(b2, torch.relu(images @ w1), w2)
    loss = F.nll_loss(F.log_softmax(scores, dim=-1), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
