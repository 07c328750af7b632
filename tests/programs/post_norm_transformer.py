"""A deep transformer that normalises after each layer, on labels that nothing tells: the loss stands, and rightly so."""
import torch
from torch import nn

torch.manual_seed(3)
layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
encoder, head = nn.TransformerEncoder(layer, 8), nn.Linear(16, 4)
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-4)
for step in range(40):
    inputs, labels = torch.randn(16, 10, 16), torch.randint(0, 4, (16,))
    loss = nn.functional.cross_entropy(head(encoder(inputs).mean(1)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
