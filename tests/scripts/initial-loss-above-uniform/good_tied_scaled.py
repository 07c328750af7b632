import math, torch
from torch import nn
torch.manual_seed(0)
V,D,T,B=3000,128,32,8
class Block(nn.Module):
    def __init__(s):
        super().__init__(); s.ln1=nn.LayerNorm(D); s.ln2=nn.LayerNorm(D); s.att=nn.MultiheadAttention(D,4,batch_first=True); s.mlp=nn.Sequential(nn.Linear(D,4*D),nn.GELU(),nn.Linear(4*D,D))
    def forward(s,x,m):
        h=s.ln1(x); x=x+s.att(h,h,h,attn_mask=m,need_weights=False)[0]; return x+s.mlp(s.ln2(x))
class GPT(nn.Module):
    def __init__(s):
        super().__init__(); s.tok=nn.Embedding(V,D); s.pos=nn.Embedding(T,D); nn.init.normal_(s.tok.weight,std=D**-0.5); nn.init.normal_(s.pos.weight,std=0.01); s.blocks=nn.ModuleList([Block() for _ in range(2)]); s.ln=nn.LayerNorm(D)
    def forward(s,idx):
        x=s.tok(idx)+s.pos(torch.arange(idx.shape[1]))
        m=torch.triu(torch.full((idx.shape[1],)*2,float("-inf")),1)
        for b in s.blocks: x=b(x,m)
        return s.ln(x) @ s.tok.weight.t()
gpt=GPT(); opt=torch.optim.AdamW(gpt.parameters(),3e-4)
data=torch.randint(0,V,(10000,))
for it in range(15):
    ix=torch.randint(0,10000-T-1,(B,)); x=torch.stack([data[i:i+T] for i in ix]); y=torch.stack([data[i+1:i+T+1] for i in ix])
    logits=gpt(x); loss=nn.functional.cross_entropy(logits.view(-1,V),y.view(-1))
    opt.zero_grad(set_to_none=True); loss.backward(); opt.step()
