"""Writes test/onnx/fixtures/upgrades.json: small models of old opsets with what ONNX Runtime computes for them.

Each case is an operator in a form the standard has since given up. The reader has to turn it into the form of opset 26
without changing what it computes. Run from the root of the repository, with onnx, onnxruntime and numpy:

    python scripts/golden/onnx-upgrades.py
"""

import base64
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
FLOAT = np.float32


def uniform(*shape, dtype=FLOAT):
    return rng.uniform(-2, 2, shape).astype(dtype)


def node(op, inputs="x", outputs="y", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"{op.lower()}_{outputs[0]}", **attributes)


def case(name, opset, nodes, inputs, weights=None, outputs=("y",), types=None):
    """Runs the model as it is and keeps it with its inputs and results."""
    types = types or {}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), types.get(k, v.shape)) for k, v in inputs.items()],
            [helper.make_tensor_value_info(o, types.get(f"type of {o}", TensorProto.FLOAT), None) for o in outputs],
            [numpy_helper.from_array(v, k) for k, v in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=7,
    )
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    results = onnxruntime.InferenceSession(model.SerializeToString(), options).run(list(outputs), inputs)
    return {
        "name": name,
        "opset": opset,
        "model": base64.b64encode(model.SerializeToString()).decode(),
        "inputs": {k: tensor(v) for k, v in inputs.items()},
        "expected": {k: tensor(v) for k, v in zip(outputs, results)},
    }


def tensor(array):
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}


x = uniform(2, 3, 4, 5)
image = uniform(1, 2, 3, 4)
dynamic = {"x": ["n", "c", "h", "w"]}
ints = lambda *values: np.array(values, np.int64)
floats = lambda *values: np.array(values, FLOAT)

cases = []
add = lambda *args, **kwargs: cases.append(case(*args, **kwargs))

for op in ("Softmax", "LogSoftmax", "Hardmax"):
    for axis in (None, 0, 1, 2, 3):
        attributes = {} if axis is None else {"axis": axis}
        add(f"{op} of opset 9 over axis {axis}", 9, [node(op, **attributes)], {"x": x}, types=dynamic)
    add(f"{op} of opset 11 over axis -2", 11, [node(op, axis=-2)], {"x": x}, types=dynamic)
hidden = [node("NonZero", outputs="i"), node("Cast", "i", "f", to=1), node("Softmax", "f", axis=1)]
add("Softmax of opset 9 over the last axis of a value whose rank is not stated", 9, hidden, {"x": floats(1, 0, 3)})
hidden = [node("NonZero", outputs="i"), node("Cast", "i", "f", to=1), node("Softmax", "f", axis=0)]
add("Softmax of opset 9 over the first axis of a value whose rank is not stated", 9, hidden, {"x": floats(1, 0, 3)})

add("Squeeze with axes as attribute", 11, [node("Squeeze", axes=[0, 2])], {"x": uniform(1, 3, 1)})
add("Squeeze without axes", 11, [node("Squeeze")], {"x": uniform(1, 3, 1)})
add("Unsqueeze with axes as attribute", 11, [node("Unsqueeze", axes=[0, -1])], {"x": uniform(3)})
for op in "Sum Mean Max Min Prod L1 L2 SumSquare LogSumExp".split():
    for opset in (9, 12) if op == "Sum" else (9, 17):
        add(f"Reduce{op} of opset {opset} with axes as attribute", opset, [node(f"Reduce{op}", axes=[1, 3], keepdims=0)], {"x": x})
    add(f"Reduce{op} of opset 11 without axes", 11, [node(f"Reduce{op}")], {"x": x})
add("ReduceLogSum with axes as attribute", 11, [node("ReduceLogSum", axes=[-1])], {"x": np.abs(x)})

add("Clip with both bounds as attributes", 7, [node("Clip", min=0.0, max=1.0)], {"x": x})
add("Clip with one bound as attribute", 10, [node("Clip", min=-0.5)], {"x": x})
add("Clip without bounds", 10, [node("Clip")], {"x": x})
add("Slice with attributes", 9, [node("Slice", starts=[0, -3], ends=[2, 2**63 - 1], axes=[1, 3])], {"x": x})
add("Slice without axes", 9, [node("Slice", starts=[0, 1], ends=[1, 3])], {"x": x})
add("Pad with attributes", 9, [node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=1.5)], {"x": image})
add("Pad without a value", 9, [node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1])], {"x": image})
add("Pad by reflection", 9, [node("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], mode="reflect")], {"x": image})
add("Split with sizes as attribute", 11, [node("Split", outputs="a b", axis=1, split=[1, 2])], {"x": x}, outputs=("a", "b"))
add("Split in equal parts", 11, [node("Split", outputs="a b", axis=2)], {"x": x}, outputs=("a", "b"))
add("Split of opset 13 in equal parts", 13, [node("Split", outputs="a b", axis=2)], {"x": x}, outputs=("a", "b"))
add("Split of opset 13 with sizes as input", 13, [node("Split", "x s", "a b", axis=1)], {"x": x}, {"s": ints(2, 1)}, outputs=("a", "b"))
add("TopK with k as attribute", 9, [node("TopK", outputs="y i", k=2, axis=1)], {"x": x})
add("Dropout with its ratio as attribute", 7, [node("Dropout", ratio=0.3)], {"x": x})
add("Dropout of opset 10", 10, [node("Dropout", ratio=0.3)], {"x": x})
add("Scatter", 10, [node("Scatter", "x i u", axis=1)], {"x": uniform(2, 4)}, {"i": np.array([[0, 2], [1, 3]], np.int64), "u": uniform(2, 2)})

statistics = {"s": uniform(2), "b": uniform(2), "m": uniform(2), "v": np.abs(uniform(2))}
add("BatchNormalization of opset 7", 7, [node("BatchNormalization", "x s b m v")], {"x": image}, statistics)
add("BatchNormalization of opset 9", 9, [node("BatchNormalization", "x s b m v", epsilon=1e-3)], {"x": image}, statistics)
add("BatchNormalization of opset 14", 14, [node("BatchNormalization", "x s b m v")], {"x": image}, statistics)
add("GroupNormalization with a scale a group", 18, [node("GroupNormalization", "x s b", num_groups=2, epsilon=1e-5)],
    {"x": uniform(2, 4, 3, 3)}, {"s": uniform(2), "b": uniform(2)})

for mode in ("nearest", "linear"):
    add(f"Upsample of opset 7, {mode}", 7, [node("Upsample", mode=mode, scales=[1.0, 1.0, 2.0, 3.0])], {"x": image})
    add(f"Upsample of opset 9, {mode}", 9, [node("Upsample", "x k", mode=mode)], {"x": image}, {"k": floats(1, 1, 2, 3)})
    add(f"Resize of opset 10, {mode}", 10, [node("Resize", "x k", mode=mode)], {"x": image}, {"k": floats(1, 1, 2, 2)})
    add(f"Resize of opset 11 by scales, {mode}", 11, [node("Resize", "x r k", mode=mode)], {"x": image}, {"r": floats(), "k": floats(1, 1, 2, 2)})
    add(f"Resize of opset 11 to sizes, {mode}", 11, [node("Resize", "x r k z", mode=mode, coordinate_transformation_mode="align_corners")],
        {"x": image}, {"r": floats(), "k": floats(), "z": ints(1, 2, 5, 7)})
add("Resize of opset 13 by a cubic", 13, [node("Resize", "x r k z", mode="cubic", coordinate_transformation_mode="half_pixel")],
    {"x": image}, {"r": floats(), "k": floats(), "z": ints(1, 2, 6, 8)})

for mode in ("bilinear", "nearest", "bicubic"):
    add(f"GridSample of opset 16, {mode}", 16, [node("GridSample", "x g", mode=mode)], {"x": image}, {"g": uniform(1, 2, 2, 2) / 2})

add("AveragePool of opset 7", 7, [node("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)], {"x": image})
add("MaxPool of opset 8", 8, [node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])], {"x": image})
add("Gemm of opset 9", 9, [node("Gemm", "x w b", transB=1, alpha=0.5)], {"x": uniform(2, 3)}, {"w": uniform(4, 3), "b": uniform(4)})
add("Flatten of opset 9", 9, [node("Flatten", axis=2)], {"x": x})
add("ArgMax of opset 9", 9, [node("ArgMax", axis=1)], {"x": x}, types={"type of y": TensorProto.INT64})
add("MeanVarianceNormalization of opset 9", 9, [node("MeanVarianceNormalization")], {"x": image})
add("Mean and Max of several inputs", 8, [node("Mean", "x w", "m"), node("Max", "m w")], {"x": image}, {"w": uniform(4)})
add("PRelu of opset 9", 9, [node("PRelu", "x s")], {"x": image}, {"s": uniform(2, 1, 1)})
add("DepthToSpace of opset 9", 9, [node("DepthToSpace", blocksize=2)], {"x": uniform(1, 4, 2, 2)})
add("InstanceNormalization of opset 7", 7, [node("InstanceNormalization", "x s b")], {"x": image}, {"s": uniform(2), "b": uniform(2)})
add("Shape of opset 9", 9, [node("Shape", outputs="s"), node("Cast", "s", to=1)], {"x": x})
add("ConvTranspose of opset 7", 7, [node("ConvTranspose", "x w", strides=[2, 2])], {"x": image}, {"w": uniform(2, 1, 2, 2)})
# float16: an old float attribute becomes an input of the tensor's type.
half = [node("Cast", outputs="h", to=10), node("Pad", "h", "p", pads=[0, 1, 0, 0], value=0.5), node("Cast", "p", to=1)]
add("Pad of a float16 tensor", 10, half, {"x": uniform(2, 2)})
half = [node("Cast", outputs="h", to=10), node("Clip", "h", "p", min=-0.25, max=0.75), node("Cast", "p", to=1)]
add("Clip of a float16 tensor", 10, half, {"x": uniform(2, 2)})

path = pathlib.Path("test/onnx/fixtures/upgrades.json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{len(cases)} cases, {path.stat().st_size} bytes")
