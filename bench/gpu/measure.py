"""Measures signstep's engine on a GPU (or its simulator) and writes the GPU section of docs/performance.md. Called by bench/gpu/run.

In one run, rivals in turns with signstep: goldens, both ceilings of the chip, PGD step and PGD-10 of every model and batch, every kernel
of a pass. One JSON line a measurement goes to <build>/measurements.jsonl. Needs Python 3.9; PyTorch and timm for ceilings and rivals.
"""

import argparse
import contextlib
import ctypes
import datetime
import gzip
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLANS = ROOT / "bench/gpu/plans"
MODELS = {"deit_tiny_patch16_224": "DeiT-Ti", "vit_small_patch16_224": "ViT-S", "vit_base_patch16_224": "ViT-B", "vit_sim": "tiny ViT"}
BATCHES = (1, 8, 32, 128, 256)
TASKS = ("step", "pgd10")
RIVALS = (("fair", "bf16"), ("eager", "amp"))
# What is asked of an H100 at batch 128: step of the fair rival over ours.
GOALS = {"deit_tiny_patch16_224": 2.0, "vit_small_patch16_224": 1.8, "vit_base_patch16_224": 1.6}
# Relative error of logits and gradient that a golden may show, by precision of the gradient.
GOLDEN_LIMITS = {"bf16": 0.05, "fp16": 0.01, "float32": 1e-4}
SEED = 1


class Failure(Exception):
    pass


def plan_of(name, build):
    """The plan file of a model, uncompressed into the build folder once."""
    packed = PLANS / f"{name}.plan.gz"
    plan = build / "plans" / f"{name}.plan"
    if not plan.exists() or plan.stat().st_mtime < packed.stat().st_mtime:
        plan.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(packed, "rb") as source, open(plan, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 24)
    return plan


class Engine:
    """An attack_bench process with one model at one batch; a timer like those of the rivals."""

    def __init__(self, args, plan, batch, precision, seed=SEED):
        self.samples = []
        self.process = subprocess.Popen(
            [args.build / "bin/attack_bench", args.engine, plan, str(batch), precision, str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.device = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"attack_bench ended with status {self.process.wait()}; its message stands above")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def time(self, task, seconds):
        return self.ask(f"run {task} {seconds}")["samples"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class EngineTimer:
    """One task of an Engine."""

    def __init__(self, engine, task, warm_up):
        self.engine, self.task, self.samples = engine, task, []
        engine.time(task, warm_up)

    def run(self, seconds):
        self.samples += self.engine.time(self.task, seconds)


class Energy:
    """The GPU's own energy counter in joules, from NVML; None where it cannot be read."""

    def __init__(self):
        self.device = None
        with contextlib.suppress(OSError):
            self.nvml = ctypes.CDLL("libnvidia-ml.so.1")
            device = ctypes.c_void_p()
            if self.nvml.nvmlInit_v2() == 0 and self.nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)) == 0:
                self.device = device

    def read(self):
        value = ctypes.c_ulonglong()
        if self.device is None or self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.device, ctypes.byref(value)) != 0:
            return None
        return value.value / 1e3

    def per_image(self, timer, batch, seconds):
        """Millijoules an image while `timer` runs."""
        count, before = len(timer.samples), self.read()
        if before is None:
            return None
        timer.run(seconds)
        return (self.read() - before) / ((len(timer.samples) - count) * batch) * 1e3


class Log:
    def __init__(self, path):
        self.path, self.lines = path, []
        path.write_text("")

    def emit(self, **fields):
        self.lines.append(fields)
        text = json.dumps(fields)
        if fields["kind"] != "kernel":  # hundreds; the report sums them up
            print(text, flush=True)
        with open(self.path, "a", encoding="utf8") as file:
            file.write(text + "\n")

    def find(self, **wanted):
        return [line for line in self.lines if all(line.get(key) == value for key, value in wanted.items())]


def median(values):
    return round(statistics.median(values), 4)


# ---- goldens --------------------------------------------------------------------------------------------------------------------------

def goldens(args, log):
    """Logits and image gradient of small models with real weights against PyTorch in float64."""
    names = sorted(path.name[: -len(".plan.gz")] for path in (PLANS / "golden").glob("*.plan.gz"))
    try:
        import numpy as np
    except ImportError:
        print("goldens left out: no NumPy")
        return
    if not names:
        print("goldens left out: none in bench/gpu/plans/golden")
    folder = args.build / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        golden = np.load(PLANS / "golden" / f"{name}.npz")
        images = golden["images"].astype("<f4")
        images.tofile(folder / "images")
        golden["labels"].astype("<i4").tofile(folder / "labels")
        for precision in ("float32", "bf16", "fp16"):
            engine = Engine(args, plan_of(f"golden/{name}", args.build), len(images), precision, seed=0)
            engine.ask(f"gradient {folder / 'images'} {folder / 'labels'} {folder / 'out'}")
            engine.close()
            out = np.fromfile(folder / "out", "<f4").astype("f8")
            logits, grad = out[: golden["logits"].size], out[golden["logits"].size:]
            expected = golden["grad"].ravel()
            cosine = float(grad @ expected / (np.linalg.norm(grad) * np.linalg.norm(expected)))
            error = {"logits": float(np.linalg.norm(logits - golden["logits"].ravel()) / np.linalg.norm(golden["logits"])),
                     "gradient": float(np.linalg.norm(grad - expected) / np.linalg.norm(expected))}
            log.emit(kind="golden", model=name, precision=precision, cosine=round(cosine, 6),
                     **{key: float(f"{value:.2e}") for key, value in error.items()})
            # Logits are always computed in float32 accuracy.
            if not (error["logits"] < GOLDEN_LIMITS["float32"] and error["gradient"] < GOLDEN_LIMITS[precision]):
                raise Failure(f"golden {name} in {precision}: errors {error}, limits {GOLDEN_LIMITS}")


# ---- ceilings -------------------------------------------------------------------------------------------------------------------------

def ceilings(args, log):
    """Copy bandwidth (bytes read and written a second) and the rate of bf16 matrix products on random data; None without PyTorch."""
    if args.engine != "cuda":
        return None
    try:
        import torch
    except ImportError:
        print("ceilings, floors and rivals left out: no PyTorch")
        return None

    def rate(function, amount):
        for _ in range(3):
            function()
        torch.cuda.synchronize()
        times, end = [], time.perf_counter() + 2
        while time.perf_counter() < end:
            begin, finish = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            function()
            finish.record()
            finish.synchronize()
            times.append(begin.elapsed_time(finish))
        return amount / statistics.median(times) * 1e3

    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    bandwidth = rate(lambda: target.copy_(source), 2 * source.numel() * 4)
    del source, target
    matrix = 0.0
    for size in (4096, 8192):
        a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        matrix = max(matrix, rate(lambda: a @ b, 2 * size**3))
    torch.cuda.empty_cache()
    log.emit(kind="ceiling", gpu=torch.cuda.get_device_name(), torch=torch.__version__, copy_gb_s=round(bandwidth / 1e9, 1),
             bf16_tflop_s=round(matrix / 1e12, 1))
    return types.SimpleNamespace(bandwidth=bandwidth, matrix=matrix)


def floor_ms(steps, ceiling):
    """The least time of a pass with these steps: each the longer of moving and computing. LayerNorm counts as folded into its neighbours:
    its launches cost nothing here."""
    if ceiling is None:
        return None
    return sum(max(step["flops"] / ceiling.matrix, step["bytes"] / ceiling.bandwidth) for step in steps
               if not step["op"].startswith("layer_norm")) * 1e3


# ---- rivals ---------------------------------------------------------------------------------------------------------------------------

def load_rivals(args):
    """The modules of shared/rivals, or None."""
    if args.engine != "cuda" or args.rivals == "none":
        return None
    folders = [pathlib.Path(args.rivals)] if args.rivals else [ROOT / "../shared/rivals", ROOT / "shared/rivals"]
    folder = next((folder for folder in folders if (folder / "attack.py").exists()), None)
    if folder is None:
        print(f"rivals left out: no attack.py in {' or '.join(map(str, folders))}; --rivals names the folder")
        return None
    sys.path.insert(0, str(folder))
    try:
        import attack
        import common
    except ImportError as error:
        print(f"rivals left out: {error}")
        return None
    return types.SimpleNamespace(attack=attack, common=common)


def rival_timers(rivals, name, batch, task, log):
    """[(rival, timer)] of one task, warmed up. A rival that fails is a result, not the end of the run."""
    import torch
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.recompile_limit = 64
    base, size = rivals.common.build_model(name)
    x = [torch.rand(batch, 3, size, size, device="cuda") for _ in range(rivals.common.input_copies(batch, size, "cuda"))]
    y = torch.randint(0, 10, (batch,), device="cuda")
    settings = types.SimpleNamespace(device="cuda", eps=4 / 255, alpha=1 / 255, cpu_mode="default")
    timers = []
    for rival, precision in RIVALS:
        try:
            timer = rivals.common.Timer(rivals.attack.build(rival, precision, task, base, name, x, y, settings), "cuda")
            timer.warm_up(5)
            timers.append((f"{rival} {precision}", timer))
        except Exception as error:
            log.emit(kind="failed", rival=f"{rival} {precision}", model=name, task=task, batch=batch,
                     error=f"{type(error).__name__}: {error}"[:300])
    return timers


# ---- attacks and kernels --------------------------------------------------------------------------------------------------------------

def kernels(args, name, batch, rounds):
    """Every launch of a gradient pass: what step_bench prints."""
    command = [args.build / f"bin/step_bench_{args.engine}", plan_of(name, args.build), str(batch), args.precision, str(SEED), str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"step_bench of {name} at batch {batch} ended with status {done.returncode}; its message stands above")
    return [json.loads(line) for line in done.stdout.splitlines()]


def attacks(args, log, ceiling, rivals):
    energy = Energy()
    for name in args.models:
        for batch in args.batches:
            launches = kernels(args, name, batch, args.kernel_rounds)
            steps = [line for line in launches if "index" in line]
            floor = floor_ms(steps, ceiling)
            for line in launches:
                log.emit(kind="kernel", model=name, batch=batch, **line)
            for task in TASKS:
                engine = Engine(args, plan_of(name, args.build), batch, args.precision)
                own = EngineTimer(engine, task, args.warm_up)
                timers = [("signstep", own)]
                if rivals is not None and batch in args.rival_batches:
                    timers += rival_timers(rivals, name, batch, task, log)
                for _ in range(args.rounds):
                    for _, timer in timers:
                        timer.run(args.seconds / args.rounds)
                for rival, timer in timers:
                    log.emit(kind="attack", rival=rival, model=name, task=task, batch=batch, precision=args.precision,
                             ms=median(timer.samples), samples=len(timer.samples),
                             images_per_s=round(batch / statistics.median(timer.samples) * 1e3, 1),
                             mj_per_image=energy.per_image(timer, batch, args.seconds),
                             floor_ms=None if floor is None else round(floor * (10 if task == "pgd10" else 1), 4),
                             device=engine.device["device"], device_bytes=engine.device["device_bytes"])
                engine.close()
                del timers
                if rivals is not None:
                    import torch
                    torch.cuda.empty_cache()


# ---- the report -----------------------------------------------------------------------------------------------------------------------

def cell(value, digits=3):
    return "–" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def table(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows), ""]


def report(args, log, ceiling):
    first = log.find(kind="attack")[0]
    today = datetime.date.today().isoformat()
    lines = [f"Device: {first['device']}; precision {args.precision}; {today}. `bench/gpu/run` repeats all of this."]
    for line in log.find(kind="ceiling"):
        lines.append(f"Ceilings measured in the same run: copy {line['copy_gb_s']} GB/s, bf16 products {line['bf16_tflop_s']} "
                     f"TFLOP/s (PyTorch {line['torch']}, random data). *Floor*: each launch of the pass at the nearer ceiling, "
                     "LayerNorm counted as folded into its neighbours.")
    lines += ["", "signstep's times are those of the blocking call, host included; the rivals' are between events on the device.", ""]

    def one(rival, model, task, batch, key="ms"):
        found = log.find(kind="attack", rival=rival, model=model, task=task, batch=batch)
        return found[0][key] if found else None

    for task, title in (("step", "A PGD step"), ("pgd10", "PGD-10")):
        rows = []
        for model in args.models:
            for batch in args.batches:
                own, fair, eager = (one(rival, model, task, batch) for rival in ("signstep", "fair bf16", "eager amp"))
                floor = one("signstep", model, task, batch, "floor_ms")
                share, over_fair, over_eager = (None if time is None else time / own for time in (floor, fair, eager))
                joules = [one(rival, model, task, batch, "mj_per_image") for rival in ("signstep", "fair bf16")]
                rows.append([MODELS[model], str(batch), cell(own), cell(floor), cell(share, 2), cell(fair), cell(over_fair),
                             cell(eager), cell(over_eager), *map(cell, joules)])
        header = ("model", "batch", "signstep", "floor", "share of floor", "fair rival", "ratio", "eager AMP", "ratio",
                  "mJ an image", "fair rival's")
        lines += [f"### {title}, ms", "", *table(header, rows)]
    missed = [f"{MODELS[model]}: {fair / own:.2f} instead of {goal}" for model, goal in GOALS.items()
              if (own := one("signstep", model, "step", 128)) and (fair := one("fair bf16", model, "step", 128)) and fair / own < goal]
    if log.find(kind="attack", rival="fair bf16", task="step", batch=128):
        verdict = "missed: " + "; ".join(missed) if missed else "are all met"
        lines += [f"Goals of the ratio to the fair rival at batch 128 {verdict}.", ""]

    batch = 128 if 128 in args.batches else args.batches[-1]
    for model in args.models:
        groups = {}
        for line in log.find(kind="kernel", model=model, batch=batch):
            if "index" in line:
                groups.setdefault((line["op"], line["shape"]), []).append(line)
        total = sum(line["ms"] for group in groups.values() for line in group)
        rows = []
        for (op, shape), group in sorted(groups.items(), key=lambda item: -sum(line["ms"] for line in item[1])):
            ms, flops, moved = (sum(line[key] for line in group) for key in ("ms", "flops", "bytes"))
            share = None if ceiling is None else max(flops / ceiling.matrix, moved / ceiling.bandwidth) * 1e3 / ms
            rows.append([op, shape, str(len(group)), cell(ms), f"{ms / total:.1%}", cell(flops / ms / 1e9), cell(moved / ms / 1e6),
                         cell(share, 2)])
        lines += [f"### Kernels of one gradient, {MODELS[model]}, batch {batch}", "",
                  *table(("operation", "shape", "launches", "ms", "of the pass", "TFLOP/s", "GB/s", "of the ceiling"), rows)]
    rows = []
    for line in log.find(kind="kernel", model=args.models[-1], batch=batch, op="perturbation"):
        share = None if ceiling is None else line["bytes"] / ceiling.bandwidth * 1e3 / line["ms"]
        rows.append([line["name"], cell(line["ms"]), cell(line["bytes"] / line["ms"] / 1e6), cell(share, 2)])
    lines += ["### Perturbation, stand-alone", "", *table(("kernel", "ms", "GB/s", "of the copy ceiling"), rows)]

    rows = [[line["model"], line["precision"], cell(line["logits"]), cell(line["gradient"]), f"{line['cosine']:.6f}"]
            for line in log.find(kind="golden")]
    if rows:
        header = ("model", "precision of the gradient", "logits", "gradient", "cosine")
        lines += ["### Against PyTorch in float64", "", *table(header, rows)]
    return "\n".join(lines)


def write_section(path, text):
    """Replaces what stands between the two marks, or appends it."""
    begin, end = "<!-- gpu: written by bench/gpu/run -->", "<!-- /gpu -->"
    section = f"{begin}\n## On a GPU\n\n{text}\n{end}\n"
    before = path.read_text(encoding="utf8") if path.exists() else ""
    if begin in before and end in before:
        head, tail = before.split(begin)[0], before.split(end + "\n")[-1]
        section = head + section + tail
    else:
        section = f"{before}\n{section}" if before else section
    temporary = path.with_suffix(".new")
    temporary.write_text(section, encoding="utf8")
    temporary.replace(path)
    print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("cuda", "sim"), default="cuda")
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the CMake tree")
    parser.add_argument("--models", nargs="+", choices=MODELS)
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--precision", choices=("bf16", "fp16", "float32"), default="bf16")
    parser.add_argument("--seconds", type=float, help="time for one measurement, warm-up not counted")
    parser.add_argument("--rounds", type=int, help="turns each measurement is split into")
    parser.add_argument("--rivals", default="", help="folder of attack.py (default: shared/rivals), or none")
    parser.add_argument("--rival-batches", type=int, nargs="+", default=[1, 128], help="compiling a rival takes minutes")
    parser.add_argument("--report", type=pathlib.Path, help="the file whose GPU section is written")
    args = parser.parse_args()
    sim = args.engine == "sim"
    args.build = args.build.resolve()
    args.models = args.models or (["vit_sim"] if sim else list(MODELS)[:3])
    args.batches = args.batches or ([2] if sim else list(BATCHES))
    args.seconds = args.seconds or (0.1 if sim else 3)
    args.rounds = args.rounds or (1 if sim else 5)
    args.warm_up = 0 if sim else 1
    args.kernel_rounds = 1 if sim else 15
    # What the simulator takes is no performance: it stays out of docs/.
    args.report = args.report or (args.build / "performance.md" if sim else ROOT / "docs/performance.md")

    log = Log(args.build / "measurements.jsonl")
    try:
        goldens(args, log)
        ceiling = ceilings(args, log)
        attacks(args, log, ceiling, load_rivals(args))
    except Failure as failure:
        sys.exit(f"measure.py: {failure}")
    write_section(args.report, report(args, log, ceiling))


if __name__ == "__main__":
    main()
