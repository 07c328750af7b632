"""A sequence classifier in a trainer class: AdamW's usual 0.1, and AdamW."""
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self, features=8, width=32, classes=4):
        super().__init__()
        self.enter = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.leave = nn.Linear(width, classes)

    def forward(self, x):
        return self.leave(self.encoder(self.enter(x)).mean(1))


class Trainer:
    def __init__(self, model, lr=1e-3, decay=0.1):
        self.model, self.loss = model, nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)

    def fit(self, batches):
        for x, y in batches:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
        return loss.item()


torch.manual_seed(0)
x = torch.randn(512, 6, 8)
y = x.mean(1)[:, :4].argmax(1)
batches = [(x[i], y[i]) for i in torch.randint(0, 512, (70, 32))]
print(Trainer(Classifier()).fit(batches))
