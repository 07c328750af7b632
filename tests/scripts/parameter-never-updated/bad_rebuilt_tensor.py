import torch
from torch import nn
torch.manual_seed(1)
class AE(nn.Module):
    def __init__(self):
        super().__init__(); self.encoder=nn.Linear(8,4); self.decoder=nn.Linear(4,8)
    def encode(self,x):
        z=torch.relu(self.encoder(x))
        return torch.tensor(z.tolist())
    def forward(self,x): return self.decoder(self.encode(x))
ae=AE(); opt=torch.optim.Adam(ae.parameters(),1e-2)
for i in range(20):
    x=torch.randn(16,8)
    loss=((ae(x)-x)**2).mean(); opt.zero_grad(); loss.backward(); opt.step()
