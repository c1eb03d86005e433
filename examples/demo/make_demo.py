"""Makes everything the demo needs: a procedural data set, three trained models, their ONNX exports.

    python -m venv .venv && .venv/bin/pip install torch==2.15.0 timm==1.0.31 numpy pillow onnx onnxscript
    .venv/bin/python examples/demo/make_demo.py            # about 25 minutes on one core

Writes beside itself: images.zip (ten class folders of 32 px PNG images, none of them seen in training), vit.onnx and swin.onnx
(adversarially trained: FGSM with a random start, eps 4/255, Wong et al. 2020), resnet.onnx (plain training, same data) and
models.json (clean and PGD-20 accuracy as PyTorch measures them). Normalisation with mean 0.5 and std 0.25 stays outside the files.
"""

import argparse
import io
import json
import math
import pathlib
import zipfile

import numpy as np
import timm
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import nn
from torch.nn.functional import cross_entropy

HERE = pathlib.Path(__file__).parent
CLASSES = ("checker", "circle", "cross", "diamond", "ring", "rows", "square", "star", "triangle", "wave")
SIDE, SCALE = 32, 4  # drawn four times larger and averaged down: smooth edges
MEAN, STD, EPS = 0.5, 0.25, 4 / 255


def polygon(points, centre, radius, angle):
    return [(centre[0] + radius * r * math.cos(a + angle), centre[1] + radius * r * math.sin(a + angle)) for r, a in points]


def regular(corners):
    return [(1.0, 2 * math.pi * k / corners) for k in range(corners)]


def mask(kind, rng):
    """The figure as a grey image: where the foreground colour goes."""
    size = SIDE * SCALE
    image = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(image)
    centre = rng.uniform(0.4, 0.6, 2) * size
    radius = rng.uniform(0.26, 0.4) * size
    tilt = rng.uniform(-0.35, 0.35)
    box = [*(centre - radius), *(centre + radius)]
    if kind == "circle":
        draw.ellipse(box, fill=255)
    elif kind == "ring":
        draw.ellipse(box, outline=255, width=int(radius * rng.uniform(0.3, 0.42)))
    elif kind == "square":
        draw.polygon(polygon(regular(4), centre, radius * 1.15, math.pi / 4 + tilt / 2), fill=255)
    elif kind == "diamond":
        draw.polygon(polygon([(1.1, 0), (0.62, math.pi / 2), (1.1, math.pi), (0.62, 3 * math.pi / 2)], centre, radius, math.pi / 2 + tilt), fill=255)
    elif kind == "triangle":
        draw.polygon(polygon(regular(3), centre, radius * 1.15, -math.pi / 2 + tilt), fill=255)
    elif kind == "star":
        points = [(1.15 if k % 2 == 0 else 0.48, 2 * math.pi * k / 10) for k in range(10)]
        draw.polygon(polygon(points, centre, radius, -math.pi / 2 + tilt), fill=255)
    elif kind == "cross":
        arm = rng.uniform(0.26, 0.36)
        for turn in (0, math.pi / 2):
            bar = [(math.hypot(1.05, arm), s * math.atan2(arm, 1.05) + f) for f, s in ((0, 1), (math.pi, -1), (math.pi, 1), (0, -1))]
            draw.polygon(polygon(bar, centre, radius, turn + tilt), fill=255)
    else:
        yy, xx = np.mgrid[0:size, 0:size] / size
        turn = tilt / 2
        u, v = xx * math.cos(turn) - yy * math.sin(turn), xx * math.sin(turn) + yy * math.cos(turn)
        period, phase = rng.uniform(0.22, 0.32), rng.uniform(0, 1)
        if kind == "rows":
            field = (v / period + phase) % 1 < 0.5
        elif kind == "wave":
            field = (v / period + phase + 0.3 * np.sin(2 * math.pi * (u / 0.5 + phase))) % 1 < 0.5
        else:
            field = ((u / period + phase) % 1 < 0.5) ^ ((v / period + rng.uniform(0, 1)) % 1 < 0.5)
        image = Image.fromarray((field * 255).astype(np.uint8))
    return np.asarray(image.resize((SIDE, SIDE), Image.BOX), dtype=np.float32)[..., None] / 255


def picture(kind, rng):
    """One image, [32,32,3] uint8: two colours that differ clearly, a soft gradient, a little texture."""
    while True:
        front, back = rng.uniform(0.05, 0.95, (2, 3))
        if np.abs(front - back).max() > 0.35:
            break
    yy, xx = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    shade = (np.cos(a := rng.uniform(0, 2 * math.pi)) * xx + np.sin(a) * yy)[..., None] * rng.uniform(0, 0.25)
    m = mask(kind, rng)
    image = back * (1 - m) + front * m + shade
    texture = Image.fromarray((rng.random((SIDE, SIDE)) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    image += (np.asarray(texture, dtype=np.float32)[..., None] / 255 - 0.5) * 0.15
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def draw_set(per_class, seed):
    rng = np.random.default_rng(seed)
    images = np.stack([picture(kind, rng) for kind in CLASSES for _ in range(per_class)])
    return images, np.repeat(np.arange(len(CLASSES)), per_class)


def tensors(images, labels):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels)


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
            nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout))
        self.skip = nn.Identity() if stride == 1 else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        return torch.relu(self.body(x) + self.skip(x))


def resnet():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        BasicBlock(16, 16, 1), BasicBlock(16, 32, 2), BasicBlock(32, 64, 2), BasicBlock(64, 64, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def vit():
    return timm.models.VisionTransformer(img_size=SIDE, patch_size=4, embed_dim=80, depth=4, num_heads=4, num_classes=10)


def swin():
    return timm.models.SwinTransformer(img_size=SIDE, patch_size=2, embed_dim=32, depths=(2, 2), num_heads=(2, 4), window_size=4,
                                       num_classes=10, drop_path_rate=0.0)


def normalised(model, x):
    return model((x - MEAN) / STD)


def gradient(model, x, y):
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(normalised(model, x), y, reduction="sum"), x)[0]


def pgd(model, x, y, steps, eps=EPS):
    adv = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        adv = (adv + 2.5 * eps / steps * gradient(model, adv, y).sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return adv


def accuracy(model, x, y, attack=None):
    right = 0
    for i in range(0, len(x), 200):
        xb, yb = x[i : i + 200], y[i : i + 200]
        xb = attack(model, xb, yb) if attack else xb
        with torch.no_grad():
            right += (normalised(model, xb).argmax(1) == yb).sum().item()
    return right / len(x)


def train(name, model, data, test, epochs, adversarial, rate, decay):
    x, y = data
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    batch = 100
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            xb, yb = x[rows], y[rows]
            if adversarial and epoch >= 0.4 * epochs - 1:
                # Clean first, then a ramp: transformers that meet full strength from scratch stall at half of the classes.
                eps = EPS * min(1, max(0, (epoch + 1) / epochs - 0.4) / 0.2)
                model.eval()
                start = (xb + torch.empty_like(xb).uniform_(-eps, eps)).clamp(0, 1)
                step = start + 1.25 * eps * gradient(model, start, yb).sign()
                xb = step.clamp(xb - eps, xb + eps).clamp(0, 1)
            model.train()
            loss = cross_entropy(normalised(model, xb), yb)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        model.eval()
        print(f"{name} epoch {epoch + 1}/{epochs}: loss {loss.item():.3f}, clean {accuracy(model, *test):.3f}", flush=True)


def export(name, model, dynamo):
    path = HERE / f"{name}.onnx"
    model.eval()
    x = torch.rand(2, 3, SIDE, SIDE)
    names = {"input_names": ["input"], "output_names": ["logits"]}
    if dynamo:
        torch.onnx.export(model, (x,), path, dynamo=True, opset_version=18, dynamic_shapes=({0: torch.export.Dim("batch")},),
                          external_data=False, verbose=False, **names)
        import onnx

        graph = onnx.load(path)
        for node in graph.graph.node:  # stack traces with the paths of the exporting machine
            del node.metadata_props[:]
            node.doc_string = ""
        onnx.save(graph, path)
    else:
        torch.onnx.export(model, (x,), path, dynamo=False, opset_version=17, dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, **names)
    print(name, path.stat().st_size, "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["vit", "swin", "resnet"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = tensors(*draw_set(1000, seed=1))
    images, labels = draw_set(60, seed=2)
    test = tensors(images, labels)
    with zipfile.ZipFile(HERE / "images.zip", "w", zipfile.ZIP_STORED) as archive:
        for i, (image, label) in enumerate(zip(images, labels)):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG", optimize=True)
            entry = zipfile.ZipInfo(f"{CLASSES[label]}/{i % 60:03}.png", (2026, 1, 1, 0, 0, 0))
            archive.writestr(entry, png.getvalue())
    record = HERE / "models.json"
    results = json.loads(record.read_text()) if record.exists() else {}
    plans = {"vit": (vit, 30, True, 1e-3, 0.05, False), "swin": (swin, 20, True, 1e-3, 0.05, True), "resnet": (resnet, 6, False, 5e-3, 5e-4, False)}
    for name in args.only:
        make, epochs, adversarial, rate, decay, dynamo = plans[name]
        torch.manual_seed(0)
        model = make()
        train(name, model, data, test, epochs, adversarial, rate, decay)
        export(name, model, dynamo)
        results[name] = {
            "training": "FGSM, random start, eps 4/255" if adversarial else "plain",
            "clean": accuracy(model, *test),
            "pgd20": {f"{e}/255": accuracy(model, *test, lambda m, x, y, e=e: pgd(m, x, y, 20, e / 255)) for e in (2, 4, 8)},
        }
        print(name, results[name], flush=True)
        record.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
