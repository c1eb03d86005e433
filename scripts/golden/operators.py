"""Writes test/autodiff/fixtures/operators.json: what PyTorch computes, in float64, for the operators signstep differentiates.

Each case holds the ONNX operator, its attributes and inputs, the output, a gradient of the output and the gradients of the inputs
that PyTorch derives from it. Points where derivatives are a matter of convention (ties, kinks, bounds, zero vectors) are among them.

Run: python scripts/golden/operators.py    (needs torch)
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).resolve().parents[2] / "test/autodiff/fixtures/operators.json"
generator = torch.Generator().manual_seed(20)
cases = []


def uniform(*shape, low=-1.5, high=1.5):
    values = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
    return torch.round(values * 1e4) / 1e4  # short in the file and exact in it


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def case(op, function, inputs, attributes=None, constants=(), note=""):
    """`function` of the differentiable `inputs`; `constants` are the ONNX operator's further inputs (None where left out)."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    output = function(*leaves)
    upstream = uniform(*output.shape, low=0.5)
    gradients = torch.autograd.grad(output, leaves, upstream, allow_unused=True, materialize_grads=True)
    cases.append(
        {
            "name": " ".join(filter(None, [op, json.dumps(attributes) if attributes else "", note])),
            "op": op,
            "attributes": attributes or {},
            "inputs": [plain(x) for x in inputs],
            "constants": [None if c is None else plain(torch.as_tensor(c)) for c in constants],
            "output": plain(output.detach()),
            "upstream": plain(upstream),
            "gradients": [plain(g) for g in gradients],
        }
    )


def plain(x):
    integer = not x.dtype.is_floating_point
    values = [int(v) if integer else float(f"{v:.10g}") for v in x.flatten().tolist()]
    return {"dtype": "int64" if integer else "float32", "shape": list(x.shape), "data": values}


def elementwise():
    x = uniform(2, 3)
    positive = uniform(2, 3, low=0.3, high=2)
    for op, f in {
        "Neg": torch.neg, "Exp": torch.exp, "Erf": torch.erf, "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan,
        "Atan": torch.atan, "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh, "Tanh": torch.tanh,
        "Sigmoid": torch.sigmoid, "Softplus": F.softplus, "Softsign": F.softsign, "Mish": F.mish,
    }.items():  # fmt: skip
        case(op, f, [x])
    for op, f in {"Log": torch.log, "Sqrt": torch.sqrt, "Reciprocal": torch.reciprocal}.items():
        case(op, f, [positive])
    for op, f in {"Asin": torch.asin, "Acos": torch.acos, "Atanh": torch.atanh}.items():
        case(op, f, [uniform(2, 3, low=-0.8, high=0.8)])
    case("Acosh", torch.acosh, [uniform(2, 3, low=1.2, high=3)])
    kinks = tensor(-4, -3, -2, -0.5, 0, 0.5, 2, 3, 4)
    case("Relu", F.relu, [kinks])
    case("Abs", torch.abs, [kinks])
    case("HardSwish", F.hardswish, [tensor(-4, -2, -0.5, 0, 0.5, 2, 4)])
    case("HardSigmoid", F.hardsigmoid, [kinks], {"alpha": 1 / 6, "beta": 0.5})
    case("LeakyRelu", lambda v: F.leaky_relu(v, 0.2), [kinks], {"alpha": 0.2})
    case("Elu", lambda v: F.elu(v, 0.7), [uniform(2, 4)], {"alpha": 0.7})
    case("Selu", F.selu, [uniform(2, 4)])
    case("Celu", lambda v: F.celu(v, 1.5), [uniform(2, 4)], {"alpha": 1.5})
    case("ThresholdedRelu", lambda v: F.threshold(v, 0.5, 0), [kinks], {"alpha": 0.5})
    case("Shrink", lambda v: F.softshrink(v, 0.5), [kinks], {"lambd": 0.5, "bias": 0.5})
    case("Swish", F.silu, [x])
    case("Gelu", F.gelu, [uniform(2, 4, low=-4, high=4)])
    case("Gelu", lambda v: F.gelu(v, approximate="tanh"), [uniform(2, 4, low=-4, high=4)], {"approximate": "tanh"})
    case("PRelu", lambda v, s: F.prelu(v, s.flatten()), [uniform(2, 3, 2), uniform(3, 1)], note="per channel")
    for op, f in {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}.items():
        case(op, f, [uniform(2, 1, 3), uniform(4, 1, low=0.5)], note="broadcast")
    case("Pow", torch.pow, [positive, x])
    for p in (-1.0, 0.5, 2.0, 3.0):
        case("Pow", lambda v, p=p: v**p, [positive], constants=[torch.tensor(p, dtype=torch.float64)], note=f"to {p}")
    case("Pow", lambda v: v**3, [tensor(-1, 0, 2)], constants=[torch.tensor(3)], note="to an integer, at zero")
    case("Pow", torch.pow, [tensor(0, 0, 2), tensor(1, 2, 0.5)], note="of zero")
    case("Mod", torch.fmod, [uniform(6, low=-5, high=5), tensor(1.5, -1.5, 2, -2, 0.7, 0.9)], {"fmod": 1})
    ties = [tensor(1, 2, 3, 0), tensor(1, 3, 2, 0)]
    case("Max", torch.maximum, ties, note="ties")
    case("Min", torch.minimum, ties, note="ties")
    case("Clip", lambda v: v.clamp(-0.5, 2), [kinks], constants=[torch.tensor(-0.5, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)], note="on the bounds")
    case("Clip", lambda v, low, high: v.clamp(low, high), [uniform(5), torch.tensor(-0.4, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)], note="bounds that are inputs")
    case("Sum", lambda a, b, c: a + b + c, [uniform(2, 3), uniform(3), uniform(1)])
    case("Mean", lambda a, b, c: (a + b + c) / 3, [uniform(2, 3), uniform(3), uniform(1)])


def products():
    for shapes in [((2, 3), (3, 4)), ((2, 2, 3), (3, 4)), ((2, 1, 2, 3), (3, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((3,), (3,))]:
        case("MatMul", torch.matmul, [uniform(*shapes[0]), uniform(*shapes[1])], note=f"{shapes[0]} {shapes[1]}")
    for a in (0, 1):
        for b in (0, 1):
            case(
                "Gemm",
                lambda x, y, z, a=a, b=b: 0.5 * ((x.T if a else x) @ (y.T if b else y)) + 2 * z,
                [uniform(*((3, 2) if a else (2, 3))), uniform(*((4, 3) if b else (3, 4))), uniform(4)],
                {"transA": a, "transB": b, "alpha": 0.5, "beta": 2.0},
            )
    for equation, shapes in {
        "bij,bjk->bik": ((2, 3, 2), (2, 2, 4)), "ij->i": ((2, 3),), "bhid,bhjd->bhij": ((1, 2, 3, 2), (1, 2, 2, 2)),
        "i,j->ij": ((2,), (3,)), "...ij,...jk->...ik": ((2, 1, 3, 2), (3, 2, 4)), "ij,jk": ((2, 3), (3, 2)),
    }.items():  # fmt: skip
        case("Einsum", lambda *v, e=equation: torch.einsum(e, *v), [uniform(*s) for s in shapes], {"equation": equation})


def windows():
    def conv(x, w, bias=None, **attributes):
        pads = attributes.get("pads", [0, 0, 0, 0])
        f = lambda v, k, c=None: F.conv2d(
            F.pad(v, (pads[1], pads[3], pads[0], pads[2])), k, c, attributes.get("strides", 1), 0,
            attributes.get("dilations", 1), attributes.get("group", 1),
        )  # fmt: skip
        case("Conv", f, [x, w] + ([bias] if bias is not None else []), attributes, note=f"{list(x.shape)} {list(w.shape)}")

    conv(uniform(2, 2, 5, 4), uniform(3, 2, 3, 3), uniform(3), pads=[1, 1, 1, 1])
    conv(uniform(1, 2, 6, 5), uniform(3, 2, 3, 2), strides=[2, 3], pads=[1, 0, 0, 1])
    conv(uniform(1, 4, 5, 4), uniform(4, 2, 2, 2), group=2, dilations=[2, 1])
    conv(uniform(2, 2, 4, 4), uniform(2, 1, 3, 3), group=2, strides=[2, 2], pads=[0, 0, 1, 1])
    conv(uniform(1, 4, 5, 6), uniform(2, 2, 2, 3), uniform(2), strides=[2, 1], pads=[1, 0, 1, 0], dilations=[1, 2], group=2)
    case("Conv", lambda v, k: F.conv1d(v, k, padding=1, stride=2), [uniform(2, 2, 6), uniform(3, 2, 3)], {"strides": [2], "pads": [1, 1]})
    case("Conv", lambda v, k: F.conv3d(v, k), [uniform(1, 1, 3, 2, 3), uniform(2, 1, 2, 2, 2)])
    case(
        "ConvTranspose",
        lambda v, k, c: F.conv_transpose2d(v, k, c, stride=2, padding=1, output_padding=1),
        [uniform(1, 2, 3, 2), uniform(2, 3, 3, 3), uniform(3)],
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    )
    case(
        "ConvTranspose",
        lambda v, k: F.conv_transpose2d(v, k, groups=2, dilation=(2, 1)),
        [uniform(1, 4, 2, 2), uniform(4, 1, 2, 2)],
        {"group": 2, "dilations": [2, 1]},
    )
    x = uniform(1, 2, 5, 5)
    case("MaxPool", lambda v: F.max_pool2d(v, 3, 2, 1), [x], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})
    case("MaxPool", lambda v: F.max_pool2d(v, 2, 2, ceil_mode=True), [x], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1})
    case("MaxPool", lambda v: F.max_pool2d(v, 2, 1, dilation=2), [x], {"kernel_shape": [2, 2], "dilations": [2, 2]})
    case("MaxPool", lambda v: F.max_pool2d(v, 2, 1), [torch.ones(1, 1, 3, 3, dtype=torch.float64)], {"kernel_shape": [2, 2]}, note="ties")
    for include in (0, 1):
        case(
            "AveragePool",
            lambda v, i=include: F.avg_pool2d(v, 3, 2, 1, count_include_pad=bool(i)),
            [x],
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": include},
        )
    case("AveragePool", lambda v: F.avg_pool2d(v, 2, 2, ceil_mode=True), [x], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1})
    case("LpPool", lambda v: F.lp_pool2d(v, 2, 2, 2), [uniform(1, 1, 4, 4)], {"kernel_shape": [2, 2], "strides": [2, 2], "p": 2})
    case("GlobalAveragePool", lambda v: F.adaptive_avg_pool2d(v, 1), [x])
    case("GlobalMaxPool", lambda v: F.adaptive_max_pool2d(v, 1), [x])


def normalisations():
    x, scale, bias = uniform(2, 3, 4), uniform(4), uniform(4)
    case("LayerNormalization", lambda v, s, c: F.layer_norm(v, (4,), s, c, 1e-5), [x, scale, bias], {"epsilon": 1e-5})
    case("LayerNormalization", lambda v, s: F.layer_norm(v, (3, 4), s, None, 1e-3), [x, uniform(3, 4)], {"epsilon": 1e-3, "axis": 1})
    case("RMSNormalization", lambda v, s: F.rms_norm(v, (4,), s, 1e-5), [x, scale], {"epsilon": 1e-5})
    image, s4, b4 = uniform(2, 4, 2, 3), uniform(4), uniform(4)
    case("InstanceNormalization", lambda v, s, c: F.instance_norm(v, weight=s, bias=c, eps=1e-5), [image, s4, b4], {"epsilon": 1e-5})
    case("GroupNormalization", lambda v, s, c: F.group_norm(v, 2, s, c, 1e-5), [image, s4, b4], {"num_groups": 2, "epsilon": 1e-5})
    case(
        "BatchNormalization",
        lambda v, s, c: F.batch_norm(v, tensor(0.1, -0.2, 0.3, 0), tensor(1, 0.5, 2, 0.8), s, c, False, 0, 1e-5),
        [image, s4, b4],
        {"epsilon": 1e-5},
        [tensor(0.1, -0.2, 0.3, 0), tensor(1, 0.5, 2, 0.8)],
        note="inference",
    )
    case(
        "BatchNormalization",
        lambda v, s, c: F.batch_norm(v, None, None, s, c, True, 0, 1e-5),
        [image, s4, b4],
        {"epsilon": 1e-5, "training_mode": 1},
        [tensor(0, 0, 0, 0), tensor(1, 1, 1, 1)],
        note="training",
    )
    case("LRN", lambda v: F.local_response_norm(v, 3, 0.5, 0.75, 1.0), [uniform(1, 5, 1, 2)], {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.0})
    case("LpNormalization", lambda v: F.normalize(v, dim=1), [uniform(2, 3)], {"axis": 1, "p": 2})
    for axis in (0, -1):
        case("Softmax", lambda v, a=axis: F.softmax(v, a), [uniform(2, 4)], {"axis": axis})
        case("LogSoftmax", lambda v, a=axis: F.log_softmax(v, a), [uniform(2, 4)], {"axis": axis})


def reductions():
    x = uniform(2, 3, 2)
    axes = torch.tensor([0, 2])
    for op, f in {
        "ReduceSum": lambda v: v.sum((0, 2)), "ReduceMean": lambda v: v.mean((0, 2)), "ReduceMax": lambda v: v.amax((0, 2)),
        "ReduceMin": lambda v: v.amin((0, 2)), "ReduceL1": lambda v: v.abs().sum((0, 2)),
        "ReduceL2": lambda v: torch.linalg.vector_norm(v, dim=(0, 2)), "ReduceSumSquare": lambda v: (v * v).sum((0, 2)),
        "ReduceLogSumExp": lambda v: torch.logsumexp(v, (0, 2)), "ReduceProd": lambda v: v.prod(2).prod(0),
    }.items():  # fmt: skip
        case(op, f, [x], {"keepdims": 0}, [axes])
    case("ReduceLogSum", lambda v: v.sum(1, keepdim=True).log(), [uniform(2, 3, low=0.5)], {"keepdims": 1}, [[1]])
    case("ReduceMax", lambda v: v.amax(1), [tensor(1, 2, 2, 2, 2, 2).reshape(2, 3)], {"keepdims": 0}, [[1]], note="ties")
    zero = torch.stack([torch.zeros(3, dtype=torch.float64), uniform(3)])
    case("ReduceL2", lambda v: torch.linalg.vector_norm(v, dim=1), [zero], {"keepdims": 0}, [[1]], note="of a zero vector")
    zeros = tensor(0, 2, 3, 0, 0, 3, 1, 2, 3).reshape(3, 3)
    case("ReduceProd", lambda v: v.prod(1), [zeros], {"keepdims": 0}, [[1]], note="with zeros")
    case("ReduceSum", lambda v: v, [x], {"noop_with_empty_axes": 1}, note="of no axis")
    case("CumSum", lambda v: v.cumsum(1), [uniform(2, 4)], {}, [torch.tensor(1)])
    case("CumSum", lambda v: v.flip(1).cumsum(1).flip(1), [uniform(2, 4)], {"reverse": 1}, [torch.tensor(1)])


def layout():
    x = uniform(2, 3, 4)
    case("Reshape", lambda v: v.reshape(4, 6), [x], {}, [[4, -1]])
    case("Flatten", lambda v: v.flatten(1), [x])
    case("Squeeze", lambda v: v.squeeze(1), [uniform(2, 1, 3)], {}, [[1]])
    case("Unsqueeze", lambda v: v[None, ..., None], [uniform(2, 3)], {}, [[0, -1]])
    case("Transpose", lambda v: v.permute(2, 0, 1), [x], {"perm": [2, 0, 1]})
    case("Expand", lambda v: v.expand(2, 3, 4), [uniform(3, 1)], {}, [[2, 3, 4]])
    case("Tile", lambda v: v.repeat(2, 3), [uniform(2, 3)], {}, [[2, 3]])
    case("Concat", lambda *v: torch.cat(v, -1), [uniform(2, 3), uniform(2, 1), uniform(2, 2)], {"axis": -1})
    case("Slice", lambda v: v[:, 1:-1], [uniform(2, 6)], {}, [[1], [-1], [1]])
    case("Slice", lambda v: v[:, 1:6:2], [uniform(2, 7)], {}, [[1], [6], [1], [2]], note="strided")
    case("Slice", lambda v: v.flip(1), [uniform(2, 5)], {}, [[-1], [-(2**62)], [1], [-1]], note="reversed")
    case("Slice", lambda v: v[:, [5, 3, 1]], [uniform(2, 7)], {}, [[-2], [0], [1], [-2]], note="backwards in steps")
    case("Pad", lambda v: F.pad(v, (1, 2, 0, 1)), [uniform(2, 3)], {}, [[0, 1, 1, 2]])
    case("Pad", lambda v: F.pad(v, (-1, 2, 1, -1)), [uniform(3, 3)], {}, [[1, -1, -1, 2]], note="negative")
    for mode, name in {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}.items():
        case("Pad", lambda v, n=name: F.pad(v, (2, 1, 1, 2), mode=n), [uniform(1, 1, 3, 4)], {"mode": mode}, [[0, 0, 1, 2, 0, 0, 2, 1]])
    case("SpaceToDepth", lambda v: v.reshape(1, 2, 2, 2, 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 2), [uniform(1, 2, 4, 4)], {"blocksize": 2})
    case("DepthToSpace", lambda v: v.reshape(1, 2, 2, 2, 2, 2).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 4), [uniform(1, 8, 2, 2)], {"blocksize": 2})
    case("DepthToSpace", lambda v: F.pixel_shuffle(v, 2), [uniform(1, 8, 2, 2)], {"blocksize": 2, "mode": "CRD"})
    case("Trilu", lambda v: v.triu(1), [uniform(3, 3)], {"upper": 1}, [torch.tensor(1)])
    image = uniform(1, 2, 4, 4)
    for size in ((7, 6), (2, 3)):
        sizes = [None, None, [1, 2, *size]]
        case("Resize", lambda v, s=size: F.interpolate(v, s, mode="bilinear"), [image], {"mode": "linear"}, sizes, note=f"to {size}")
        case(
            "Resize",
            lambda v, s=size: F.interpolate(v, s, mode="bicubic"),
            [image],
            {"mode": "cubic", "cubic_coeff_a": -0.75},
            sizes,
            note=f"to {size}",
        )
        case(
            "Resize",
            lambda v, s=size: F.interpolate(v, s, mode="bilinear", align_corners=True),
            [image],
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            sizes,
            note=f"to {size}",
        )
        case(
            "Resize",
            lambda v, s=size: F.interpolate(v, s, mode="nearest"),
            [image],
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            sizes,
            note=f"to {size}",
        )


def indexing():
    x = uniform(4, 3)
    case("Gather", lambda v: v[1], [x], {"axis": 0}, [torch.tensor(1)], note="one")
    case("Gather", lambda v: v[:, torch.tensor([[2, 0], [2, -1]])], [x], {"axis": 1}, [torch.tensor([[2, 0], [2, -1]])], note="repeated")
    case("Gather", lambda v: v[[2, 0, 3, 1]], [x], {"axis": 0}, [[2, 0, 3, 1]], note="permutation")
    elements = torch.tensor([[0, 2, 2], [1, 0, 1]])
    case("GatherElements", lambda v: v.gather(0, elements), [x], {"axis": 0}, [elements])
    pairs = torch.tensor([[0, 1], [3, 2], [0, 1]])
    case("GatherND", lambda v: v[pairs[:, 0], pairs[:, 1]], [x], {}, [pairs])
    case("GatherND", lambda v: v[torch.tensor([1, 1, 3])], [x], {}, [torch.tensor([[1], [1], [-1]])], note="rows")
    batched = torch.tensor([[1], [-1]])
    case("GatherND", lambda v: v[torch.arange(2), torch.tensor([1, -1])], [uniform(2, 3, 2)], {"batch_dims": 1}, [batched])
    update = torch.tensor([[2, 0, 1]])
    for reduction in ("none", "add"):
        attributes = {"axis": 0, **({"reduction": "add"} if reduction == "add" else {})}
        f = (lambda v, u: v.scatter_add(0, update, u)) if reduction == "add" else (lambda v, u: v.scatter(0, update, u))
        scatter("ScatterElements", f, [uniform(3, 3), uniform(1, 3)], update, attributes)
        g = (lambda v, u: v.index_add(0, torch.tensor([3, 1]), u)) if reduction == "add" else (lambda v, u: v.index_copy(0, torch.tensor([3, 1]), u))
        scatter("ScatterND", g, [uniform(4, 2), uniform(2, 2)], torch.tensor([[3], [1]]), {k: v for k, v in attributes.items() if k != "axis"})
    case("TopK", lambda v: v.topk(2, 1)[0], [uniform(2, 5)], {"axis": 1}, [[2]])
    condition = torch.tensor([[1, 0, 1], [0, 0, 1]])
    case_where(condition)


def scatter(op, function, inputs, indices, attributes):
    """ONNX puts the indices between data and updates."""
    case(op, function, inputs, attributes)
    cases[-1]["between"] = plain(indices)


def case_where(condition):
    case("Where", lambda a, b: torch.where(condition.bool(), a, b), [uniform(2, 3), uniform(3)])
    cases[-1]["before"] = {**plain(condition), "dtype": "bool"}


torch.set_num_threads(1)
for family in (elementwise, products, windows, normalisations, reductions, layout, indexing):
    family()
assert all(math.isfinite(v) for c in cases for g in c["gradients"] for v in g["data"])
OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
print(f"{len(cases)} cases, {OUT.stat().st_size} bytes")
