"""PyTorch's gradients for test/autodiff/pytorch.test.ts, in float64: python scripts/golden/operators.py

One case an operator (or a form of one): the ONNX operator with attributes and constant inputs, random inputs, a random gradient of the
output, and what torch.autograd makes of it. Writes test/autodiff/fixtures/operators.json.
"""

import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
OUT = pathlib.Path(__file__).parents[2] / "test/autodiff/fixtures/operators.json"
cases = []


def numbers(t):
    return [float(f"{v:.12g}") for v in t.detach().flatten().tolist()]


def case(op, function, *shapes, attributes=None, ints=None, low=-1.0, high=1.0, ties=False, output=0, outputs=1):
    """`ints`: {position: list} of constant int64 inputs of the ONNX operator; tensors fill the other positions in order."""
    x = [(low + (high - low) * torch.rand(shape)).round(decimals=1 if ties else 6).requires_grad_() for shape in shapes]
    y = function(*x)
    g = torch.rand_like(y) - 0.5
    grads = torch.autograd.grad(y, x, g)
    cases.append({
        "op": op, "attributes": attributes or {}, "ints": ints or {}, "output": output, "outputs": outputs,
        "inputs": [{"shape": list(t.shape), "data": numbers(t)} for t in x],
        "gradient": numbers(g), "result": numbers(y), "gradients": [numbers(t) for t in grads],
    })


unary = {
    "Abs": torch.abs, "Exp": torch.exp, "Erf": torch.erf, "Sin": torch.sin, "Cos": torch.cos, "Tan": torch.tan, "Atan": torch.atan,
    "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Softplus": F.softplus,
    "Softsign": F.softsign, "Relu": F.relu, "Gelu": F.gelu, "Mish": F.mish, "HardSwish": F.hardswish, "Selu": F.selu, "Elu": F.elu,
    "Neg": torch.neg,
}
for name, function in unary.items():
    case(name, function, (3, 4), low=-2, high=2)
case("Gelu", lambda x: F.gelu(x, approximate="tanh"), (3, 4), attributes={"approximate": "tanh"}, low=-3, high=3)
case("LeakyRelu", lambda x: F.leaky_relu(x, 0.1), (3, 4), attributes={"alpha": 0.1})
case("Celu", lambda x: F.celu(x, 1.3), (3, 4), attributes={"alpha": 1.3})
case("HardSigmoid", F.hardsigmoid, (3, 4), attributes={"alpha": 1 / 6, "beta": 0.5}, low=-4, high=4)
for name, function in {"Log": torch.log, "Sqrt": torch.sqrt, "Reciprocal": torch.reciprocal}.items():
    case(name, function, (3, 4), low=0.2, high=2)
for name, function in {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow}.items():
    case(name, function, (2, 3, 4), (3, 1), low=0.3, high=2)
for name, function in {"Min": torch.minimum, "Max": torch.maximum}.items():
    case(name, function, (4, 5), (4, 5), ties=True)
case("PRelu", lambda x, w: torch.where(x >= 0, x, w.view(1, 3, 1) * x), (2, 3, 4), (3, 1))
case("MatMul", torch.matmul, (2, 3, 4), (4, 5))
case("MatMul", torch.matmul, (2, 1, 3, 4), (3, 4, 2))
case("Gemm", lambda a, b, c: 0.5 * a.T @ b + 2 * c, (4, 3), (4, 5), (5,), attributes={"transA": 1, "alpha": 0.5, "beta": 2.0})
case("Einsum", lambda a, b: torch.einsum("bhid,bhjd->bhij", a, b), (2, 2, 3, 4), (2, 2, 5, 4), attributes={"equation": "bhid,bhjd->bhij"})
case("Softmax", lambda x: F.softmax(x, -1), (2, 3, 4), attributes={"axis": -1})
case("LogSoftmax", lambda x: F.log_softmax(x, 1), (2, 3, 4), attributes={"axis": 1})
case("LayerNormalization", lambda x, w, b: F.layer_norm(x, (5,), w, b, 1e-5), (2, 3, 5), (5,), (5,), attributes={"epsilon": 1e-5})
case("RMSNormalization", lambda x, w: F.rms_norm(x, (5,), w, 1e-5), (2, 3, 5), (5,), attributes={"epsilon": 1e-5})
case("GroupNormalization", lambda x, w, b: F.group_norm(x, 2, w, b, 1e-5), (2, 4, 3), (4,), (4,), attributes={"num_groups": 2})
case("InstanceNormalization", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), (2, 3, 4, 2), (3,), (3,))
case("BatchNormalization", lambda x, w, b, m, v: (x - m[:, None]) / torch.sqrt(v[:, None] + 1e-5) * w[:, None] + b[:, None], (2, 3, 4), (3,), (3,), (3,), (3,), low=0.2, high=1.5)
case("LRN", lambda x: F.local_response_norm(x, 3, alpha=0.3, beta=0.75, k=1.5), (2, 5, 3), attributes={"size": 3, "alpha": 0.3, "beta": 0.75, "bias": 1.5})
conv = {"strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2], "group": 2}
case("Conv", lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0), (1, 2), 2), (2, 4, 6, 7), (6, 2, 3, 3), (6,), attributes=conv)
case("ConvTranspose", lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2), (2, 4, 3, 3), (4, 3, 3, 3), (6,),
     attributes={"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1], "group": 2})
case("Conv", lambda x, w: F.conv3d(x, w, padding=1), (1, 2, 3, 4, 3), (2, 2, 3, 3, 3), attributes={"pads": [1] * 6})
pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
case("MaxPool", lambda x: F.max_pool2d(x, 3, 2, 1), (1, 2, 7, 6), attributes=pool)
case("MaxPool", lambda x: F.max_pool2d(x, 3, 2, 0, ceil_mode=True), (1, 2, 6, 6), attributes={"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})
case("AveragePool", lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (1, 2, 7, 6), attributes=pool)
case("AveragePool", lambda x: F.avg_pool2d(x, 3, 2, 1), (1, 2, 7, 6), attributes={**pool, "count_include_pad": 1})
case("GlobalAveragePool", lambda x: F.adaptive_avg_pool2d(x, 1), (2, 3, 4, 5))
case("GlobalMaxPool", lambda x: x.amax((2, 3), keepdim=True), (2, 3, 4, 5), ties=True)
reductions = {
    "ReduceSum": torch.sum, "ReduceMean": torch.mean, "ReduceMax": torch.amax, "ReduceMin": torch.amin,
    "ReduceLogSumExp": torch.logsumexp, "ReduceL2": lambda x, d: torch.linalg.vector_norm(x, 2, d), "ReduceL1": lambda x, d: torch.linalg.vector_norm(x, 1, d),
}
for name, function in reductions.items():
    case(name, lambda x, f=function: f(x, (1, 2)), (2, 3, 4), ints={1: [1, 2]}, attributes={"keepdims": 0}, ties=name in ("ReduceMax", "ReduceMin"))
case("ReduceProd", lambda x: torch.prod(x, 1), (3, 4), ints={1: [1]}, attributes={"keepdims": 0})
case("Transpose", lambda x: x.permute(2, 0, 1), (2, 3, 4), attributes={"perm": [2, 0, 1]})
case("Expand", lambda x: x.expand(2, 3, 4), (3, 1), ints={1: [2, 3, 4]})
case("Tile", lambda x: x.repeat(2, 3), (2, 3), ints={1: [2, 3]})
case("Concat", lambda a, b: torch.cat((a, b), 1), (2, 3), (2, 4), attributes={"axis": 1})
case("Slice", lambda x: x[1:5:2, -4:-1], (6, 5), ints={1: [1, -4], 2: [5, -1], 3: [0, 1], 4: [2, 1]})
case("Pad", lambda x: F.pad(x, (1, 2, 0, 1)), (3, 4), ints={1: [0, 1, 1, 2]})
case("Pad", lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), (1, 3, 4), ints={1: [0, 2, 1, 0, 1, 2]}, attributes={"mode": "reflect"})
case("Pad", lambda x: F.pad(x, (1, 2), mode="replicate"), (1, 3, 4), ints={1: [0, 0, 1, 0, 0, 2]}, attributes={"mode": "edge"})
case("Gather", lambda x: x[:, torch.tensor([2, 0, 2])], (3, 4), ints={1: [2, 0, 2]}, attributes={"axis": 1})
case("DepthToSpace", lambda x: F.pixel_shuffle(x, 2), (1, 8, 2, 3), attributes={"blocksize": 2, "mode": "CRD"})
case("CumSum", lambda x: torch.cumsum(x, 1), (3, 4), ints={1: [1]})
case("TopK", lambda x: torch.topk(x, 2, 1).values, (3, 5), ints={1: [2]}, attributes={"axis": 1}, outputs=2)
for mode, torch_mode in (("linear", "bilinear"), ("cubic", "bicubic")):
    case("Resize", lambda x, m=torch_mode: F.interpolate(x, (5, 7), mode=m, align_corners=False), (1, 2, 3, 4), attributes={"mode": mode, "coordinate_transformation_mode": "pytorch_half_pixel"}, ints={3: [1, 2, 5, 7]})
case("Resize", lambda x: F.interpolate(x, (6, 8), mode="nearest"), (1, 2, 3, 4), attributes={"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, ints={3: [1, 2, 6, 8]})
OUT.write_text(json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")) + "\n")
print(len(cases), "cases,", OUT.stat().st_size, "bytes")
