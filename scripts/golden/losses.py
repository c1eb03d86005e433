"""Writes test/autodiff/fixtures/losses.json: PyTorch's cross-entropy and KL divergence of random logits, in float64, with the gradients.

The KL divergence is that of TRADES: F.kl_div(log_softmax(logits), softmax(reference)), summed over the classes of a sample. Among its rows
are equal, near, far and confident distributions.

Run: python scripts/golden/losses.py    (needs torch)
"""

import json
import pathlib

import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).resolve().parents[2] / "test/autodiff/fixtures/losses.json"
generator = torch.Generator().manual_seed(7)
SAMPLES, CLASSES = 6, 5


def normal():
    return torch.randn(SAMPLES, CLASSES, generator=generator, dtype=torch.float64)


# Rounded to float32: what the runtimes are given.
logits = (2 * normal()).float().double()
logits[4, 1] += 12
distance = torch.tensor([0, 1e-3, 0.1, 1, 1e-2, 5], dtype=torch.float64)[:, None]
reference = (logits + distance * normal()).float().double()
labels = torch.tensor([0, 4, 2, 1, 1, 3])

result = {"logits": logits.tolist(), "reference": reference.tolist(), "labels": labels.tolist()}
for name, loss_of in {
    "cross-entropy": lambda z: F.cross_entropy(z, labels, reduction="none"),
    "kl": lambda z: F.kl_div(F.log_softmax(z, 1), F.softmax(reference, 1), reduction="none").sum(1),
}.items():
    z = logits.clone().requires_grad_()
    loss = loss_of(z)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    result[name] = {"loss": loss.tolist(), "gradient": gradient.tolist()}
OUT.write_text(json.dumps(result) + "\n")
print(f"{OUT.stat().st_size} bytes")
