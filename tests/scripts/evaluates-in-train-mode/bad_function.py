"""A convolutional network in a trainer class, dropout as a function; eval() nowhere."""
import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.out = nn.Linear(6 * 36, 2)

    def forward(self, image):
        hidden = F.relu(self.conv(image)).flatten(1)
        return self.out(F.dropout(hidden, 0.4, training=self.training))


class Trainer:
    def __init__(self):
        torch.manual_seed(7)
        self.net = Net()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def batch(self):
        image = torch.randn(24, 1, 8, 8)
        return image, (image.mean((1, 2, 3)) > 0).long()

    def train_epoch(self):
        for _ in range(6):
            image, label = self.batch()
            loss = F.cross_entropy(self.net(image), label)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def test(self):
        with torch.inference_mode():
            for _ in range(2):
                image, label = self.batch()
                F.nll_loss(F.log_softmax(self.net(image), dim=1), label)

    def fit(self, epochs):
        for _ in range(epochs):
            self.train_epoch()
            self.test()


Trainer().fit(5)
