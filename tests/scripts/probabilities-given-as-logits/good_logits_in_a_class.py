"""Class trainer, sigmoid + BCEWithLogits."""
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__(); self.l1=nn.Linear(10,32); self.l2=nn.Linear(32,1)
    def forward(self,x): return (self.l2(torch.relu(self.l1(x)))).squeeze(1)
class Trainer:
    def __init__(self):
        torch.manual_seed(3)
        self.net=Net(); self.opt=torch.optim.AdamW(self.net.parameters(),lr=1e-3); self.crit=nn.BCEWithLogitsLoss()
        self.x=torch.randn(512,10); self.y=(self.x[:,0]>0).float()
    def fit(self):
        for e in range(30):
            for i in range(0,512,64):
                self.opt.zero_grad(); l=self.crit(self.net(self.x[i:i+64]),self.y[i:i+64]); l.backward(); self.opt.step()
        print("final",l.item())
if __name__=="__main__": Trainer().fit()
