"""Pixels that Pillow (13 or newer) and torchvision make of two small pictures, for test/data/images.test.ts. A result is stored
as its size and the SHA-1 of its RGB bytes.

    python scripts/golden/images.py"""

import base64
import hashlib
import io
import json
import pathlib

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

OUT = pathlib.Path(__file__).parents[2] / "test/data/fixtures/images.json"
y, x = np.mgrid[0:37, 0:53]
pixels = np.stack([x * 4.7 % 256, y * 6.3 % 256, (x * y) % 251], -1).astype(np.uint8)
picture = Image.fromarray(pixels)
# Smooth enough for JPEG to keep its colours apart.
photo = Image.fromarray(np.stack([128 + 110 * np.sin(x * a + y * b) for a, b in ((0.31, 0.07), (0.05, 0.23), (0.17, -0.19))], -1).astype(np.uint8))
cubic = InterpolationMode.BICUBIC


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return base64.b64encode(stream.getvalue()).decode()


def raw(image):
    return {"size": [image.height, image.width], "sha1": hashlib.sha1(image.convert("RGB").tobytes()).hexdigest()}


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


files = {
    "rgb.png": encoded(picture, "PNG"),
    "grey.png": encoded(picture.convert("L"), "PNG"),
    "alpha.png": encoded(picture.convert("RGBA"), "PNG"),
    "palette.png": encoded(picture.quantize(64), "PNG"),
    "bilevel.png": encoded(picture.convert("1"), "PNG"),
    "photo.jpg": encoded(picture, "JPEG", quality=90),
    "grey.jpg": encoded(picture.convert("L"), "JPEG", quality=80),
    "full-colour.jpg": encoded(photo, "JPEG", quality=90, subsampling=0),
    "progressive.jpg": encoded(photo, "JPEG", quality=60, progressive=True),
    "cmyk.jpg": encoded(Image.merge("CMYK", (*photo.split(), photo.convert("L"))), "JPEG", quality=80),
    "photo.webp": encoded(photo, "WEBP", quality=80),
    "lzw.tiff": encoded(picture, "TIFF", compression="tiff_lzw"),
    "grey.tiff": encoded(picture.convert("L"), "TIFF"),
    "palette.gif": encoded(picture.quantize(64), "GIF"),
    "frames.gif": encoded(picture.quantize(32), "GIF", save_all=True, append_images=[photo.quantize(32)]),
    "rgb.bmp": encoded(picture, "BMP"),
    "grey.bmp": encoded(picture.convert("L"), "BMP"),
    "palette.bmp": encoded(picture.quantize(16), "BMP"),
    "bilevel.bmp": encoded(picture.convert("1"), "BMP"),
    "alpha.bmp": encoded(picture.convert("RGBA"), "BMP"),
}
steps = {
    "resize 20": ({"resize": 20}, Resize(20)),
    "resize 64": ({"resize": 64}, Resize(64)),
    "resize 15x40": ({"resize": [15, 40]}, Resize((15, 40))),
    "resize 15x50, rows before columns": ({"resize": [15, 50]}, Resize((15, 50))),
    "resize 24x60, bicubic": ({"resize": [24, 60], "interpolation": "bicubic"}, Resize((24, 60), cubic)),
    "resize 50x31, bicubic": ({"resize": [50, 31], "interpolation": "bicubic"}, Resize((50, 31), cubic)),
    "resize 30, crop 24": ({"resize": 30, "crop": [24, 24]}, lambda i: CenterCrop(24)(Resize(30)(i))),
    **{
        f"resize {h}x{w}, {name}": ({"resize": [h, w], "interpolation": name}, Resize((h, w), getattr(InterpolationMode, name.upper())))
        for name in ("nearest", "box", "hamming", "lanczos") for h, w in ((24, 60), (50, 31), (16, 13))
    },
    "crop 21x50": ({"crop": [21, 50]}, CenterCrop((21, 50))),
    "crop 48x60, larger than the picture": ({"crop": [48, 60]}, CenterCrop((48, 60))),
}
OUT.write_text(json.dumps({
    "files": {name: {"bytes": text, "decoded": raw(decoded(text).convert("RGB"))} for name, text in files.items()},
    "geometry": {name: {"options": options, "result": raw(step(picture))} for name, (options, step) in steps.items()},
}) + "\n")
print(OUT.stat().st_size, "bytes")
