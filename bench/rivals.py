"""The Python tools that signstep is compared with, as a server on stdin and stdout: one JSON request a line, one JSON answer.

    {"do": "load", "model": "vit_small_patch16_224", "batch": 8, "threads": 2, "onnx": "m.onnx", "images": "folder"}
    {"do": "time", "rival": "eager", "task": "gradient"}      -> {"ms": 812.4}
    {"do": "memory", "rival": "eager", "task": "pgd10"}       -> {"mib": 1361.0}

A server holds one model, so that the caller can time rivals and signstep in turns. Rivals: eager (PGD by hand, parameters frozen),
channels_last (the same in the layout convolutions are fastest in), compiled-bf16 (torch.compile under bf16 autocast), torchattacks and
foolbox as their documentation shows them. Tasks: gradient (forward and backward to the input), pgd10 (ten steps, random start,
eps 4/255, alpha 1/255), files (decode JPEG files, pgd10 on each batch, write one .npz).
"""

import contextlib
import json
import pathlib
import sys
import tempfile
import time
import warnings

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy

EPS, ALPHA, STEPS = 4 / 255, 1 / 255, 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalized(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, x):
        return self.model((x - self.mean) / self.std)


def build(name):
    """A timm network with random weights and its image side. The two 32 px networks are the usual CIFAR sizes."""
    torch.manual_seed(0)
    if name == "vit_cifar":
        return timm.models.VisionTransformer(img_size=32, patch_size=4, embed_dim=192, depth=6, num_heads=3, num_classes=10), 32
    if name == "resnet18_cifar":
        net = timm.create_model("resnet18", num_classes=10)
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        return net, 32
    return timm.create_model(name, pretrained=False), 224


def input_gradient(model, x, y):
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(model(x).float(), y, reduction="sum"), x)[0]


class Rivals:
    def load(self, model, batch, threads, onnx, images=None, seed=0):
        torch.set_num_threads(threads)
        net, self.side = build(model)
        net.eval()
        # The default export of most users: TorchScript, dynamic batch, normalisation outside.
        torch.onnx.export(net, (torch.rand(2, 3, self.side, self.side),), onnx, dynamo=False, opset_version=17, input_names=["input"],
                          output_names=["logits"], dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})
        generator = torch.Generator().manual_seed(seed)
        self.batch = batch
        self.x = torch.rand(batch, 3, self.side, self.side, generator=generator)
        with torch.no_grad():
            classes = net(self.x[:1]).shape[1]
        self.y = torch.randint(0, classes, (batch,), generator=generator)
        self.files = sorted(pathlib.Path(images).rglob("*.jpg")) if images else []
        self.net, self.made = net, {}
        return {"side": self.side, "classes": classes, "torch": torch.__version__}

    def runner(self, rival):
        """x, y -> (gradient, pgd10) of a rival; built once."""
        if rival in self.made:
            return self.made[rival]
        model = Normalized(self.net).eval()
        if rival == "torchattacks":
            import torchattacks

            made = None, torchattacks.PGD(model, eps=EPS, alpha=ALPHA, steps=STEPS, random_start=True)
        elif rival == "foolbox":
            import foolbox

            wrapped, attack = foolbox.PyTorchModel(model, bounds=(0, 1)), foolbox.attacks.LinfPGD(abs_stepsize=ALPHA, steps=STEPS, random_start=True)
            made = None, lambda x, y: attack(wrapped, x, y, epsilons=EPS)[1]
        else:
            model.requires_grad_(False)
            layout = torch.channels_last if rival == "channels_last" else torch.contiguous_format
            cast = contextlib.nullcontext
            if rival == "channels_last":
                model = model.to(memory_format=layout)
            if rival == "compiled-bf16":
                model = torch.compile(model)
                cast = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731

            def gradient(x, y):
                with cast():
                    return input_gradient(model, x.to(memory_format=layout), y)

            def pgd10(x, y):
                adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
                for _ in range(STEPS):
                    adv = (adv + ALPHA * gradient(adv, y).sign()).clamp(x - EPS, x + EPS).clamp(0, 1)
                return adv

            made = gradient, pgd10
        self.made[rival] = made
        return made

    def task(self, rival, task):
        gradient, pgd10 = self.runner(rival)
        # foolbox and torchattacks need parameters that require gradients or do not care; eager ones freeze them.
        self.net.requires_grad_(rival in ("torchattacks", "foolbox"))
        if task == "gradient":
            return lambda: gradient(self.x, self.y)
        if task == "pgd10":
            return lambda: pgd10(self.x, self.y)

        def files():
            done = []
            for i in range(0, len(self.files), self.batch):
                arrays = [np.asarray(Image.open(f).convert("RGB"), dtype=np.float32) / 255 for f in self.files[i : i + self.batch]]
                x = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
                done.append(pgd10(x, self.y[: len(x)]).numpy())
            with tempfile.TemporaryDirectory() as folder:
                np.savez(pathlib.Path(folder) / "adversarial.npz", images=np.concatenate(done))

        return files

    def time(self, rival, task):
        run = self.task(rival, task)
        start = time.perf_counter()
        run()
        return {"ms": (time.perf_counter() - start) * 1e3}

    def memory(self, rival, task):
        run = self.task(rival, task)
        run()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # restart the high-water mark: exporting and compiling are not what is compared
        run()
        with open("/proc/self/status") as status:
            return {"mib": int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024}


def main():
    warnings.filterwarnings("ignore")
    rivals, out = Rivals(), sys.stdout
    sys.stdout = sys.stderr  # exporters print; answers must stay alone on their stream
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(rivals, request.pop("do"))(**request)
        except Exception as error:  # a rival that fails is a result, not the end of the run
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
