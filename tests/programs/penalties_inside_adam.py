"""Adam with the L2 penalties that people give it on purpose: a graph network's, a recommender's, and a strong one beside strong gradients."""
import torch
from torch import nn


class Graph(nn.Module):
    def __init__(self, nodes, features, classes):
        super().__init__()
        adjacency = (torch.rand(nodes, nodes) < 0.05).float() + torch.eye(nodes)
        self.register_buffer("adjacency", adjacency / adjacency.sum(1, keepdim=True))
        self.first, self.second = nn.Linear(features, 16), nn.Linear(16, classes)

    def forward(self, x):
        hidden = nn.functional.dropout(torch.relu(self.adjacency @ self.first(x)), 0.5, self.training)
        return self.adjacency @ self.second(hidden)


class Recommender(nn.Module):
    def __init__(self, items):
        super().__init__()
        self.items = nn.Embedding(items, 16)
        self.score = nn.Linear(16, 4)

    def forward(self, x):
        return self.score(self.items(x).mean(1))


def train(model, draw, steps, **settings):
    optimizer = torch.optim.Adam(model.parameters(), **settings)
    for _ in range(steps):
        x, y = draw()
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(loss.item().hex())


torch.manual_seed(0)
features = torch.randn(120, 10)
labels = features[:, :3].argmax(1)
train(Graph(120, 10, 3), lambda: (features, labels), 60, lr=0.01, weight_decay=5e-4)
baskets = torch.randint(0, 900, (300, 5))
train(Recommender(900), lambda: (baskets[:64], baskets[:64, 0] % 4), 40, lr=1e-2, weight_decay=1e-4)
network = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
train(network, lambda: (features, labels), 40, lr=1e-3, weight_decay=1e-2)
