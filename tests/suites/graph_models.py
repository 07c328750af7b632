"""Models that are no chain: skips across modules, concatenations, several inputs, hand-written forwards, one module called twice."""

import itertools

import torch
from torch import nn


class Double(nn.Sequential):
    def __init__(self, entry, width, *, inplace):
        super().__init__(
            nn.Conv2d(entry, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace), nn.Dropout2d(0.1),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace),
        )  # fmt: skip


class UNet(nn.Module):
    """Skips go from module to module, past everything between."""

    def __init__(self, width=8, *, inplace=False):
        super().__init__()
        sizes = (3, width, 2 * width)
        self.down = nn.ModuleList(Double(one, other, inplace=inplace) for one, other in itertools.pairwise(sizes))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, 2, 2) for one in sizes[1:0:-1])
        self.join = nn.ModuleList(Double(2 * one, one, inplace=inplace) for one in sizes[1:0:-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for skip, up, join in zip(skips[-2::-1], self.up, self.join, strict=True):
            x = join(torch.cat([up(x), skip], 1))
        return self.head(x)


class DenseLayer(nn.Module):
    def __init__(self, entry, growth):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(entry), nn.Conv2d(entry, growth, 3, padding=1)

    def forward(self, features):
        return self.conv(torch.relu(self.norm(torch.cat(features, 1))))


class DenseNet(nn.Module):
    def __init__(self, growth=8, count=6):
        super().__init__()
        self.stem = nn.Conv2d(3, growth, 3, padding=1)
        self.layers = nn.ModuleList(DenseLayer(growth * (place + 1), growth) for place in range(count))
        self.head = nn.Linear(growth * (count + 1), 5)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(features))
        return self.head(torch.cat(features, 1).mean((2, 3)))


class Mixing(nn.Module):
    """Two inputs, one by its name, and two results in a dict."""

    def __init__(self, width):
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, *, memory):
        mixed, _ = self.attend(x, memory, memory, need_weights=False)
        mixed = x + mixed
        return {"x": mixed + self.narrow(torch.relu(self.wide(mixed))), "memory": memory.tanh()}


class EncoderDecoder(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.words = nn.Embedding(50, width)
        self.encoder = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 64, batch_first=True) for _ in range(1))
        self.decoder = nn.ModuleList(Mixing(width) for _ in range(2))

    def forward(self, source, target, scale=1.0):
        memory, x = self.words(source), self.words(target) * scale
        for layer in self.encoder:
            memory = layer(memory)
        for layer in self.decoder:
            found = layer(x, memory=memory)
            x, memory = found["x"], found["memory"]
        return {"logits": x @ self.words.weight.T, "memory": memory}


class Transformer(nn.Module):
    """A forward written by hand: every layer's output is added up."""

    def __init__(self, width=32, count=2):
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 4 * width, batch_first=True) for _ in range(count))

    def forward(self, x):
        total = x
        for layer in self.layers:
            x = layer(x)
            total = total + x
        return total


class Tied(nn.Module):
    """One module called four times."""

    def __init__(self, width=32):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.2), nn.Linear(4 * width, width))
        self.same = self.block
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        first = x
        for block in (self.block, self.same, self.block, self.same):
            x = self.norm(x + block(x)) + first
        return x


def total(output):
    return sum((one * one.detach().cos()).mean() for one in ([*output.values()] if isinstance(output, dict) else [output]))


MODELS = {
    "unet": (UNet, (torch.randn(2, 3, 32, 32),)),
    "unet in place": (lambda: UNet(inplace=True), (torch.randn(2, 3, 32, 32),)),
    "densenet": (DenseNet, (torch.randn(2, 3, 32, 32),)),
    "encoder-decoder": (
        EncoderDecoder, {"source": torch.randint(0, 50, (4, 24)), "target": torch.randint(0, 50, (4, 24)), "scale": 2.0}
    ),
    "transformer": (Transformer, (torch.randn(4, 24, 32),)),
    "tied": (Tied, (torch.randn(64, 32),)),
}  # fmt: skip
