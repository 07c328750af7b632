import torch
from torch import nn

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
opt_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
for _ in range(12):
    real, noise = torch.randn(32, 2) + 3, torch.randn(32, 4)
    discriminator.zero_grad()
    loss_real = criterion(discriminator(real), torch.ones(32, 1))
    loss_real.backward()
    fake = generator(noise)
    loss_fake = criterion(discriminator(fake.detach()), torch.zeros(32, 1))
    loss_fake.backward()
    opt_d.step()
    generator.zero_grad()
    loss_g = criterion(discriminator(fake), torch.ones(32, 1))
    loss_g.backward()
    opt_g.step()
    print(loss_real.item().hex(), loss_fake.item().hex(), loss_g.item().hex())
