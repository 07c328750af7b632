"""zero_grad is called for both optimizers."""
import torch
from torch import nn

torch.manual_seed(0)
encoder, decoder = nn.Linear(8, 16), nn.Linear(16, 8)
optimizers = {"encoder": torch.optim.Adam(encoder.parameters()), "decoder": torch.optim.Adam(decoder.parameters())}
for _ in range(40):
    x = torch.randn(32, 8)
    for optimizer in optimizers.values():
        optimizer.zero_grad()
    loss = nn.functional.mse_loss(decoder(torch.tanh(encoder(x))), x)
    loss.backward()
    for optimizer in optimizers.values():
        optimizer.step()
