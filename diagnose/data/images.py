"""A folder of images as data: one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from diagnose.data.parts import Parts, Samples

ENDINGS = (".png", ".jpg", ".jpeg")


class ImageFolder(Parts):
    """Images in ``path/<class>/``, PNG or JPEG, as ``(channels, height, width)`` from 0 to 1.

    Grey images have one channel; where any has colours, all have three.

    Args:
        path: The folder.
        size: ``[height, width]`` to bring all images to; ``None`` expects them of one size.
        options: As in `Parts`.

    Raises:
        ValueError: No such folder, fewer than two classes, a file that is no image, or images of different sizes.
    """

    def __init__(self, path: str | None, *, size: Sequence[int] | None = None, **options: Any) -> None:
        super().__init__(read(path, size), **options)


def read(path: str | None, size: Sequence[int] | None) -> Samples:
    """The samples of a folder."""
    if not path or not Path(path).is_dir():
        raise ValueError(f"data.path must name a folder with a folder of images per class, there is no folder {path!r}")
    if size is not None and (len(size) != 2 or any(not isinstance(s, int) or s < 1 for s in size)):
        raise ValueError(f"data.size must be [height, width] in pixels, got {list(size)!r}")
    found = {
        folder.name: files
        for folder in sorted(Path(path).iterdir())
        if folder.is_dir() and (files := sorted(f for f in folder.iterdir() if f.suffix.lower() in ENDINGS))
    }
    if len(found) < 2:
        raise ValueError(
            f"expected a folder of {', '.join(ENDINGS)} files for each of at least two classes in {path!r}, got {list(found)!r}"
        )
    images = [(file, _open(file)) for files in found.values() for file in files]
    first, sizes = images[0], {image.size for _, image in images}
    if size is None and len(sizes) > 1:
        file, other = next(pair for pair in images if pair[1].size != first[1].size)
        raise ValueError(
            f"the images have different sizes: {first[0].name} is {first[1].height} x {first[1].width}, {file.name} is "
            f"{other.height} x {other.width}; bring them to one by data.size=[height,width]"
        )
    mode = "L" if all(image.mode in ("L", "1") for _, image in images) else "RGB"
    arrays = []
    for _, image in images:
        whole = image.convert(mode)
        array = np.asarray(whole if size is None else whole.resize((size[1], size[0])), dtype=np.float32) / 255
        arrays.append(array[None] if mode == "L" else array.transpose(2, 0, 1))
    y = np.repeat(np.arange(len(found)), [len(files) for files in found.values()])
    notes = [f"Images of {len(sizes)} sizes were brought to {size[0]} x {size[1]}."] if size is not None and len(sizes) > 1 else []
    return Samples(x=np.stack(arrays), y=y.astype(np.int64), class_names=list(found), notes=notes)


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            image.load()
            return image.copy()
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
