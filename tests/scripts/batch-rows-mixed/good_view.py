"""Frames of videos through a network, then over time, the axes exchanged for real."""

import torch
from torch import nn


class Videos(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.frame = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten())
        self.time = nn.LSTM(36, 24)
        self.out = nn.Linear(24, classes)

    def forward(self, videos):
        samples, frames = videos.shape[:2]
        features = self.frame(videos.flatten(0, 1)).view(samples, frames, -1)
        states, _ = self.time(features.transpose(0, 1))
        return self.out(states[-1])


def train(model, steps=8):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        videos, labels = torch.randn(12, 7, 1, 8, 8), torch.randint(0, 5, (12,))
        loss = nn.functional.cross_entropy(model(videos), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


torch.manual_seed(0)
train(Videos())
