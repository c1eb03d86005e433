"""Exports networks of timm, torchvision and Hugging Face, with random weights, by both exporters of PyTorch, and compares what signstep makes of
the files with PyTorch in float64: logits, loss, gradients to the input and to the parameters, and the loss after five steps of PGD.
Writes docs/architectures.md.

Run after a build: python scripts/golden/architectures.py [name ...]   (needs torch, timm, torchvision, transformers, onnx, onnxruntime)

Each network is exported by TorchScript at one of the opsets 9 to 20 and by torch.export at 18 to 20, with a free and with a fixed batch in turns.
What PyTorch itself cannot export is listed as such. Named networks are run alone; the table is then left as it is.
"""

import copy
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torch.nn.functional as F
import torchvision

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
onnxruntime.set_default_logger_severity(3)

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = 10
EPS, ALPHA, STEPS = 8 / 255, 2 / 255, 5


def timm_model(name, size, **options):
    return lambda: (timm.create_model(name, pretrained=False, exportable=True, num_classes=CLASSES, **options), size)


def torchvision_model(name, size, **options):
    return lambda: (getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **options), size)


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        out = self.model(images)
        return getattr(out, "logits", out)


def hugging_face(kind, size, **config):
    def make():
        import transformers

        settings = getattr(transformers, f"{kind}Config")(num_labels=CLASSES, image_size=size, **config)
        settings._attn_implementation = "sdpa" if kind != "Swin" else "eager"
        return Logits(getattr(transformers, f"{kind}ForImageClassification")(settings)), size

    return make


small_vit = {"img_size": 64, "patch_size": 16, "embed_dim": 96, "depth": 3, "num_heads": 3}
NETWORKS = {
    # transformers
    "vit_tiny_patch16_224": timm_model("vit_tiny_patch16_224", 64, img_size=64, depth=3),
    "vit_small_patch32_224": timm_model("vit_small_patch32_224", 64, img_size=64, depth=2),
    "deit_tiny_distilled_patch16_224": timm_model("deit_tiny_distilled_patch16_224", 64, img_size=64, depth=3),
    "deit3_small_patch16_224": timm_model("deit3_small_patch16_224", 64, img_size=64, depth=2),
    "vit_small_patch14_reg4_dinov2": timm_model("vit_small_patch14_reg4_dinov2", 56, img_size=56, depth=2),
    "vit_base_patch16_siglip_224": timm_model("vit_base_patch16_siglip_224", 64, img_size=64, depth=2, embed_dim=96, num_heads=3),
    "vit_base_patch16_clip_224": timm_model("vit_base_patch16_clip_224", 64, img_size=64, depth=2, embed_dim=96, num_heads=3),
    "vit_relpos_small_patch16_224": timm_model("vit_relpos_small_patch16_224", 64, img_size=64, depth=2),
    "vit_tiny_r_s16_p8_224": timm_model("vit_tiny_r_s16_p8_224", 64, img_size=64, depth=2),
    "eva02_tiny_patch14_224": timm_model("eva02_tiny_patch14_224", 56, img_size=56, depth=2),
    "beit_base_patch16_224": timm_model("beit_base_patch16_224", 64, img_size=64, depth=2, embed_dim=96, num_heads=3),
    "cait_xxs24_224": timm_model("cait_xxs24_224", 64, img_size=64, depth=2),
    "xcit_nano_12_p16_224": timm_model("xcit_nano_12_p16_224", 64, img_size=64, depth=2),
    "convit_tiny": timm_model("convit_tiny", 64, img_size=64, depth=3),
    "crossvit_tiny_240": timm_model("crossvit_tiny_240", 240),
    "pit_ti_224": timm_model("pit_ti_224", 64, img_size=64),
    "tnt_s_patch16_224": timm_model("tnt_s_patch16_224", 224, depth=2),
    "swin_tiny_patch4_window7_224": timm_model("swin_tiny_patch4_window7_224", 56, img_size=56, depths=(1, 2, 2), num_heads=(1, 2, 4), embed_dim=32),
    "swinv2_tiny_window8_256": timm_model("swinv2_tiny_window8_256", 64, img_size=64, depths=(2, 2), num_heads=(1, 2), embed_dim=32),
    "swinv2_cr_tiny_224": timm_model("swinv2_cr_tiny_224", 64, img_size=64, depths=(2, 2), num_heads=(1, 2), embed_dim=32, window_size=8),
    "twins_svt_small": timm_model("twins_svt_small", 64, img_size=64),
    "pvt_v2_b0": timm_model("pvt_v2_b0", 64),
    "nest_tiny": timm_model("nest_tiny", 64, img_size=64),
    "coat_lite_tiny": timm_model("coat_lite_tiny", 64, img_size=64),
    "mvitv2_tiny": timm_model("mvitv2_tiny", 64, img_size=64),
    "gcvit_xxtiny": timm_model("gcvit_xxtiny", 224),
    "davit_tiny": timm_model("davit_tiny", 64, embed_dims=(24, 48, 96, 192), num_heads=(1, 2, 4, 8), depths=(1, 1, 1, 1)),
    "focalnet_tiny_srf": timm_model("focalnet_tiny_srf", 64, depths=(1, 1, 1, 1), embed_dim=24),
    "maxvit_t": torchvision_model("maxvit_t", 224),
    "levit_128s": timm_model("levit_128s", 224),
    "efficientformer_l1": timm_model("efficientformer_l1", 224),
    "mobilevit_xxs": timm_model("mobilevit_xxs", 64),
    "mobilevitv2_050": timm_model("mobilevitv2_050", 64),
    "edgenext_xx_small": timm_model("edgenext_xx_small", 64),
    "tiny_vit_5m_224": timm_model("tiny_vit_5m_224", 224),
    "coatnet_nano_rw_224": timm_model("coatnet_nano_rw_224", 224),
    "volo_d1_224": timm_model("volo_d1_224", 64, img_size=64),
    "samvit_base_patch16": timm_model("samvit_base_patch16", 64, img_size=64, depth=2, embed_dim=96, num_heads=3),
    "visformer_tiny": timm_model("visformer_tiny", 64, img_size=64),
    "sequencer2d_s": timm_model("sequencer2d_s", 64, img_size=64, layers=[1, 1, 1, 1]),
    # mixers and others without convolutions or attention
    "mixer_s32_224": timm_model("mixer_s32_224", 64, img_size=64, num_blocks=2),
    "gmlp_s16_224": timm_model("gmlp_s16_224", 64, img_size=64, num_blocks=2),
    "resmlp_12_224": timm_model("resmlp_12_224", 64, img_size=64, num_blocks=2),
    "poolformer_s12": timm_model("poolformer_s12", 64),
    "convmixer_768_32": timm_model("convmixer_768_32", 56, dim=64, depth=3),
    # convolutional networks
    "resnet18": timm_model("resnet18", 64),
    "resnet50": torchvision_model("resnet50", 64),
    "wide_resnet50_2": torchvision_model("wide_resnet50_2", 64),
    "resnext50_32x4d": torchvision_model("resnext50_32x4d", 64),
    "resnetv2_50": timm_model("resnetv2_50", 64),
    "resnetv2_50x1_bit": timm_model("resnetv2_50x1_bit", 64),
    "seresnext26d_32x4d": timm_model("seresnext26d_32x4d", 64),
    "skresnet18": timm_model("skresnet18", 64),
    "res2net50_26w_4s": timm_model("res2net50_26w_4s", 64),
    "densenet121": torchvision_model("densenet121", 64),
    "vgg11_bn": torchvision_model("vgg11_bn", 64),
    "alexnet": torchvision_model("alexnet", 96),
    "squeezenet1_1": torchvision_model("squeezenet1_1", 64),
    "googlenet": torchvision_model("googlenet", 96, init_weights=True, aux_logits=False),
    "inception_v3": torchvision_model("inception_v3", 128, init_weights=True, aux_logits=False),
    "xception41": timm_model("xception41", 96),
    "mobilenet_v2": torchvision_model("mobilenet_v2", 64),
    "mobilenetv3_small_100": timm_model("mobilenetv3_small_100", 64),
    "mobilenetv4_conv_small": timm_model("mobilenetv4_conv_small", 64),
    "mnasnet0_5": torchvision_model("mnasnet0_5", 64),
    "shufflenet_v2_x0_5": torchvision_model("shufflenet_v2_x0_5", 64),
    "ghostnet_100": timm_model("ghostnet_100", 64),
    "efficientnet_b0": torchvision_model("efficientnet_b0", 64),
    "efficientnetv2_rw_t": timm_model("efficientnetv2_rw_t", 64),
    "regnet_y_400mf": torchvision_model("regnet_y_400mf", 64),
    "convnext_tiny": torchvision_model("convnext_tiny", 64),
    "convnextv2_atto": timm_model("convnextv2_atto", 64),
    "repvgg_a0": timm_model("repvgg_a0", 64),
    "dla34": timm_model("dla34", 64),
    "vovnet39a": timm_model("vovnet39a", 64),
    "nf_resnet26": timm_model("nf_resnet26", 64),
    "eca_nfnet_l0": timm_model("eca_nfnet_l0", 64),
    "botnet26t_256": timm_model("botnet26t_256", 256),
    "halonet26t": timm_model("halonet26t", 64),
    "lambda_resnet26t": timm_model("lambda_resnet26t", 64),
    "cs3darknet_s": timm_model("cs3darknet_s", 64),
    "hgnetv2_b0": timm_model("hgnetv2_b0", 64),
    "inception_next_atto": timm_model("inception_next_atto", 64),
    "starnet_s1": timm_model("starnet_s1", 64),
    "fastvit_t8": timm_model("fastvit_t8", 64),
    # Hugging Face
    "hf vit": hugging_face("ViT", 64, hidden_size=96, num_hidden_layers=3, num_attention_heads=3, intermediate_size=192),
    "hf deit": hugging_face("DeiT", 64, hidden_size=96, num_hidden_layers=2, num_attention_heads=3, intermediate_size=192),
    "hf beit": hugging_face("Beit", 64, hidden_size=96, num_hidden_layers=2, num_attention_heads=3, intermediate_size=192, use_relative_position_bias=True),
    "hf dinov2": hugging_face("Dinov2", 56, hidden_size=96, num_hidden_layers=2, num_attention_heads=3, patch_size=14),
    "hf swin": hugging_face("Swin", 64, embed_dim=24, depths=[2, 2], num_heads=[1, 2], window_size=4, patch_size=4),
    "hf convnext": hugging_face("ConvNext", 64, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 2, 1]),
    "hf resnet": hugging_face("ResNet", 64, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 1, 1], embedding_size=16),
}
# (exporter, opset, whether the batch is free); a network takes one of each row, in turns.
TORCHSCRIPT = [("torchscript", 13, True), ("torchscript", 17, False), ("torchscript", 11, True), ("torchscript", 20, True), ("torchscript", 9, False)]
DYNAMO = [("dynamo", 18, True), ("dynamo", 20, False), ("dynamo", 19, True)]
BATCH = 3


def spread(model, generator):
    """Weights that make no gradient trivial: nothing is left at zero or one, and logits are of the size of a trained network's."""
    with torch.no_grad():
        for module in model.modules():
            for name in ("running_mean", "running_var"):
                statistic = getattr(module, name, None)
                if statistic is not None:
                    low, high = (-0.1, 0.1) if name == "running_mean" else (0.7, 1.3)
                    statistic.uniform_(low, high, generator=generator)
        for parameter in model.parameters():
            if parameter.dim() <= 1 or parameter.abs().max() < 1e-3:
                parameter.add_(torch.empty_like(parameter).uniform_(-0.1, 0.1, generator=generator))
            if parameter.dim() > 1 and parameter.std() < 1e-2:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.05, generator=generator))


class Scaled(torch.nn.Module):
    def __init__(self, model, factor):
        super().__init__()
        self.model = model
        self.factor = factor

    def forward(self, images):
        return self.model(images) * self.factor


def build(make):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model, size = make()
    model.eval()
    spread(model, generator)
    images = torch.rand(BATCH, 3, size, size, generator=generator)
    with torch.no_grad():
        factor = 2 / float(model(images).std())
    return Scaled(model, factor).eval(), images


def export(model, images, path, exporter, opset, free):
    if exporter == "torchscript":
        axes = {"images": {0: "N"}, "logits": {0: "N"}} if free else None
        torch.onnx.export(model, (images,), path, dynamo=False, opset_version=opset, input_names=["images"], output_names=["logits"], dynamic_axes=axes)
    else:
        shapes = ({0: torch.export.Dim("N")},) if free else None
        torch.onnx.export(model, (images,), path, dynamo=True, opset_version=opset, input_names=["images"], output_names=["logits"], dynamic_shapes=shapes, verbose=False)


def exported(model, images, path, exporter, opset, free):
    """How it was exported: TorchScript refuses some operators at old opsets, such networks are exported at 17."""
    try:
        export(model, images, path, exporter, opset, free)
    except Exception:
        if exporter != "torchscript" or opset >= 17:
            raise
        opset = 17
        export(model, images, path, exporter, opset, free)
    onnx.load(path, load_external_data=False)
    return f"{exporter}, {opset}, {'free' if free else f'fixed {BATCH}'}"


class Reference:
    """PyTorch in float64."""

    def __init__(self, model, images, labels):
        exact = copy.deepcopy(model).double()
        x = images.double().requires_grad_()
        logits = exact(x)
        loss = F.cross_entropy(logits, labels, reduction="none")
        self.parameters = {name: p for name, p in exact.named_parameters()}
        (self.input_gradient,) = torch.autograd.grad(loss.sum(), x, retain_graph=True)
        grads = torch.autograd.grad(loss.mean(), list(self.parameters.values()), allow_unused=True)
        self.gradients = {name: g.numpy() for name, g in zip(self.parameters, grads) if g is not None}
        self.logits, self.loss = logits.detach().numpy(), loss.detach().numpy()
        self.input_gradient = self.input_gradient.numpy()
        clean, x = images.double(), images.double()
        for _ in range(STEPS):
            x = x.requires_grad_()
            (g,) = torch.autograd.grad(F.cross_entropy(exact(x), labels, reduction="sum"), x)
            x = (x.detach() + ALPHA * g.sign()).clamp(clean - EPS, clean + EPS).clamp(0, 1)
        with torch.no_grad():
            self.pgd_loss = float(F.cross_entropy(exact(x), labels))


def signstep(*arguments):
    run = subprocess.run(["node", str(ROOT / "dist/cli/main.js"), *arguments], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError((run.stderr.strip().splitlines() or ["no message"])[-1][:300])


def relative(found, wanted):
    return float(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-30))


def compare(path, folder, images, labels, reference):
    gradient = os.path.join(folder, "gradient.onnx")
    signstep("gradient", path, "-o", gradient, "--preprocess", "none", "--parameters")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(gradient, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"images": images.numpy(), "labels": labels.numpy()})))
    # Exporters keep the names of parameters, but store some of them transposed or folded under names of their own.
    compared = []
    for name, wanted in reference.gradients.items():
        own = found.get(f"grad:{name}")
        if own is not None and own.shape == wanted.shape and np.linalg.norm(wanted) > 1e-9:
            compared.append(relative(own, wanted))
    data = os.path.join(folder, "data.npz")
    np.savez(data, images=images.numpy(), labels=labels.numpy())
    run = os.path.join(folder, "run")
    signstep("attack", path, "--data", data, "--preprocess", "none", "--attack", "pgd", "--eps", "8/255", "--alpha", "2/255", "--steps", str(STEPS), "--no-random-start", "--out", run, "--quiet", "--threads", "1", "--device", "cpu")
    (archive,) = pathlib.Path(run, "adversarial").glob("*.npz")
    loss = float(np.load(archive)["loss"].mean())
    return {
        "logits": relative(found["logits"], reference.logits),
        "loss": relative(found["loss"], reference.loss),
        "input gradient": relative(found["input_gradient"], reference.input_gradient),
        "parameters": (max(compared) if compared else None, len(compared)),
        "pgd": abs(loss - reference.pgd_loss) / max(abs(reference.pgd_loss), 1e-6),
    }


def rows(name, turn):
    try:
        model, images = build(NETWORKS[name])
    except Exception as error:
        yield {"name": name, "how": "", "failure": f"not made by this version of its library: {type(error).__name__}"}
        return
    labels = torch.arange(BATCH) % CLASSES
    reference = Reference(model, images, labels)
    for exporter, opset, free in (TORCHSCRIPT[turn % len(TORCHSCRIPT)], DYNAMO[turn % len(DYNAMO)]):
        how = f"{exporter}, {opset}, {'free' if free else f'fixed {BATCH}'}"
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            try:
                how = exported(model, images, path, exporter, opset, free)
            except Exception as error:
                yield {"name": name, "how": how, "failure": f"PyTorch does not export it: {type(error).__name__}"}
                continue
            try:
                yield {"name": name, "how": how, **compare(path, folder, images, labels, reference)}
            except Exception as error:
                yield {"name": name, "how": how, "failure": str(error).replace(folder, "").replace("\n", " ")}


def cells(row):
    if "failure" in row:
        return [row["name"], row["how"], row["failure"], "", "", "", ""]
    most, count = row["parameters"]
    parameters = f"{most:.0e} ({count})" if count else "–"
    return [row["name"], row["how"], *(f"{row[key]:.0e}" for key in ("logits", "loss", "input gradient")), parameters, f"{100 * row['pgd']:.2f} %"]


def main():
    chosen = sys.argv[1:] or list(NETWORKS)
    table = []
    for name in chosen:
        begun = time.time()
        for row in rows(name, list(NETWORKS).index(name)):
            table.append(row)
            print(*cells(row), f"{time.time() - begun:.0f} s", sep=" | ", flush=True)
    if sys.argv[1:]:
        return
    done = [row for row in table if "failure" not in row]
    networks = len({row["name"] for row in done})
    close = sum(row["input gradient"] <= 1e-4 for row in done)
    head = ["network", "exporter, opset, batch", "logits", "loss", "input gradient", "parameters", "PGD loss"]
    lines = [
        "# Networks",
        "",
        f"{len(done)} exports of {networks} networks against PyTorch {torch.__version__.split('+')[0]} in float64, made by `python scripts/golden/architectures.py`: relative errors",
        "‖found − expected‖/‖expected‖ of signstep's float32 on the CPU, the largest over all parameters whose name and shape the export keeps (how",
        f"many in brackets), and of the mean loss after {STEPS} steps of PGD. The input gradient is within 1e-4 in {close} of {len(done)}; what is further off passes ReLUs and maxima that",
        "float32 decides otherwise than float64. TorchScript refuses some operators at old opsets; such networks are exported at 17.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(cells(row))} |" for row in table),
        "",
    ]
    (ROOT / "docs/architectures.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
