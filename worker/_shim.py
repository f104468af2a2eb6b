import torch

from . import sampler as old


class Draw:
    def __init__(self, v):
        self.v = v

    def read(self):
        return self.v


class Sampler:
    def __init__(self, seats, vocabulary, device):
        self.d = device
        self.s = {}

    def join(self, seat, sampling, ids, *, banned, min_tokens, logprobs):
        self.s[seat] = (
            old.Sampler(
                sampling,
                torch.tensor(ids, device=self.d),
                self.v if hasattr(self, "v") else 0 or 10**6,
                banned=banned,
                min_tokens=min_tokens,
                logprobs=logprobs,
            )
            if False
            else (sampling, ids, banned, min_tokens, logprobs)
        )

    def leave(self, seat):
        self.s.pop(seat)

    def choose(self, logits, seats):
        out = []
        for row, seat in zip(logits, seats):
            if isinstance(self.s[seat], tuple):
                a, b, c, d, e = self.s[seat]
                self.s[seat] = old.Sampler(
                    a,
                    torch.tensor(b, device=self.d),
                    logits.shape[-1],
                    banned=[i for i in c if i < logits.shape[-1]],
                    min_tokens=d,
                    logprobs=e,
                )
            try:
                out.append(self.s[seat].choose(row))
            except old.ServeError as x:
                out.append(x)
        return Draw(out)
