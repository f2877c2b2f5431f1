"""Problems as one-line strings, and suites of them as text files.

A convolution is written in one of two forms, which `parse` tells apart.

By letters, in any order, as the papers on convolution libraries name them::

    n8 c64 k64 h56 r3 p1

===  ==================================  =====================
n    images of the batch                 1
c    input channels
k    output channels
h w  height and width of the input       w is h
r s  height and width of the kernel      s is r
u v  stride down and across              1; v is u
p q  padding above and left              0; q is p
d e  dilation down and across            1; e is d
g    groups                              1
o    rows and columns added to a         0
     transposed convolution's output
===  ==================================  =====================

By shapes: ``conv 64x56x56 128x3x3 s2 p1``, the input's C×H×W, the output channels and the kernel's
KH×KW, then stride, padding, dilation, groups and batch (``s p d g n``) where they are not 1, 0, 1,
1, 1. A pair is written ``p0x3``.

Before either form may stand ``conv``; ``dw``, depthwise: as many groups as channels; or
``transposed``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from importlib import resources

Pair = tuple[int, int]
DIRECTIONS = ("forward", "input", "weight")


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution layer.

    Attributes
    ----------
    channels, height, width : int
        Of the input.
    out_channels : int
    kernel, stride, padding, dilation : (int, int)
        Down and across.
    groups : int
    transposed : bool
    output_padding : int
        Of a transposed convolution.
    batch : int
        Methods that take a batch use this one if none is given.

    Raises
    ------
    ValueError
        Sizes that no convolution has.
    """

    channels: int
    height: int
    width: int
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    transposed: bool = False
    output_padding: int = 0
    batch: int = 1

    def __post_init__(self) -> None:
        positive = (self.channels, self.height, self.width, self.out_channels, self.groups,
                    self.batch, *self.kernel, *self.stride, *self.dilation)  # fmt: skip
        if min(positive) < 1:
            raise ValueError(f"parse: sizes must be at least 1, got {self}")
        if self.channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"parse: groups must divide the channels, got {self}")
        if self.output_padding and not self.transposed:
            raise ValueError(f"parse: output padding is for transposed, got {self}")
        if self.output_padding >= max(*self.stride, *self.dilation):
            raise ValueError(
                f"parse: output padding must be less than the stride or the dilation, got {self}"
            )
        if min(self.output_shape()) < 1:
            raise ValueError(f"parse: the output would be empty, got {self}")

    def __str__(self) -> str:
        kind = "transposed" if self.transposed else "dw" if self.depthwise else "conv"
        parts = [
            kind,
            f"{self.channels}x{self.height}x{self.width}",
            f"{self.out_channels}x{self.kernel[0]}x{self.kernel[1]}",
        ]
        pairs = (("s", self.stride, 1), ("p", self.padding, 0), ("d", self.dilation, 1))
        for letter, (down, across), default in pairs:
            if down != across:
                parts.append(f"{letter}{down}x{across}")
            elif down != default:
                parts.append(f"{letter}{down}")
        for letter, value, default in (
            ("g", self.groups, self.channels if kind == "dw" else 1),
            ("o", self.output_padding, 0),
            ("n", self.batch, 1),
        ):
            if value != default:
                parts.append(f"{letter}{value}")
        return " ".join(parts)

    def with_batch(self, batch: int) -> Convolution:
        """The same layer for another batch."""
        return dataclasses.replace(self, batch=batch)

    @property
    def depthwise(self) -> bool:
        """A group for each channel, of which there are several."""
        return self.groups == self.channels > 1 and not self.transposed

    @property
    def name(self) -> str:
        """The function of `pyconv.kernels`."""
        return "conv_transpose2d" if self.transposed else "conv2d"

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Cout, Cin/groups, KH, KW; transposed Cin, Cout/groups, KH, KW."""
        first, second = self.out_channels, self.channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel)

    @property
    def geometry(self) -> dict[str, int | Pair]:
        """The keywords of `kernels.conv2d` and its gradients, and of the transposed ones."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def input_shape(self, batch: int | None = None) -> tuple[int, int, int, int]:
        """N, C, H, W."""
        return (batch or self.batch, self.channels, self.height, self.width)

    def output_shape(self, batch: int | None = None) -> tuple[int, int, int, int]:
        """N, Cout, OH, OW."""
        sizes = []
        for axis, size in enumerate((self.height, self.width)):
            reach = self.dilation[axis] * (self.kernel[axis] - 1)
            pad, step = 2 * self.padding[axis], self.stride[axis]
            if self.transposed:
                sizes.append((size - 1) * step - pad + reach + self.output_padding + 1)
            else:
                sizes.append((size + pad - reach - 1) // step + 1)
        return (batch or self.batch, self.out_channels, sizes[0], sizes[1])

    def flops(self, batch: int | None = None) -> float:
        """Two for each product of a direct kernel; taps on padding are counted."""
        n, _, rows, columns = self.output_shape(batch)
        if self.transposed:
            rows, columns = self.height, self.width
        taps = self.kernel[0] * self.kernel[1]
        return 2.0 * n * rows * columns * taps * self.channels * self.out_channels / self.groups

    def bytes(self, batch: int | None = None) -> float:
        """Of input, weight and output in float32: what must be moved at least, in any direction."""
        total = 0
        for shape in (self.input_shape(batch), self.output_shape(batch), self.weight_shape):
            total += 4 * shape[0] * shape[1] * shape[2] * shape[3]
        return float(total)


_SHAPES = re.compile(r"(\d+)x(\d+)x(\d+) (\d+)x(\d+)x(\d+)((?: [spdgon]\d+(?:x\d+)?)*)")
_LETTERS = re.compile(r"[nckhwrsuvpqdego]\d+(?: [nckhwrsuvpqdego]\d+)*")


def parse(text: str) -> Convolution:
    """The problem that a string says; the module's text has the two forms.

    Parameters
    ----------
    text : str

    Returns
    -------
    Convolution

    Raises
    ------
    TypeError, ValueError
        The string says none.

    Examples
    --------
    >>> from pyconv.bench import parse
    >>> parse("n8 c64 k128 h56 r3 u2 p1").output_shape()
    (8, 128, 28, 28)
    >>> str(parse("c64 k128 h56 r3 u2 p1"))
    'conv 64x56x56 128x3x3 s2 p1'
    >>> parse("transposed 64x8x8 32x4x4 s2 p1").output_shape()
    (1, 32, 16, 16)
    """
    if not isinstance(text, str):
        raise TypeError(f"parse: text must be a str, got {type(text).__name__}")
    kind, _, rest = " ".join(text.split()).partition(" ")
    if kind not in ("conv", "dw", "transposed"):
        kind, rest = "conv", " ".join(text.split())
    shapes = _SHAPES.fullmatch(rest)
    if shapes:
        *numbers, options = shapes.groups()
        c, h, w, k, r, s = map(int, numbers)
        given = _options(text, options.split())
        pair = {letter: _pair(given.get(letter, default)) for letter, default in
                (("s", "1"), ("p", "0"), ("d", "1"))}  # fmt: skip
        stride, padding, dilation = pair["s"], pair["p"], pair["d"]
    elif _LETTERS.fullmatch(rest):
        given = _options(text, rest.split())
        missing = [letter for letter in "ckhr" if letter not in given]
        if missing == ["k"] and kind == "dw":
            given["k"] = given["c"]
        elif missing:
            raise ValueError(f"parse: {', '.join(missing)} must be given, got {text!r}")
        value = {letter: int(number) for letter, number in given.items()}
        c, k, h, r = (value[letter] for letter in "ckhr")
        w, s = value.get("w", h), value.get("s", r)
        stride = (value.get("u", 1), value.get("v", value.get("u", 1)))
        padding = (value.get("p", 0), value.get("q", value.get("p", 0)))
        dilation = (value.get("d", 1), value.get("e", value.get("d", 1)))
    else:
        raise ValueError(
            "parse: a problem is written like 'n8 c64 k128 h56 r3 u2 p1' or "
            f"'conv 64x56x56 128x3x3 s2 p1', got {text!r}"
        )
    try:
        groups, more, batch = (
            int(given.get(x, y)) for x, y in (("g", "1"), ("o", "0"), ("n", "1"))
        )
    except ValueError:
        raise ValueError(f"parse: g, o and n take one number, got {text!r}") from None
    if kind == "dw" and "g" not in given:
        groups = c
    return Convolution(
        c, h, w, k, (r, s), stride, padding, dilation, groups, kind == "transposed", more, batch
    )


def _options(text: str, parts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        if part[0] in found:
            raise ValueError(f"parse: {part[0]} is given twice, got {text!r}")
        found[part[0]] = part[1:]
    return found


def _pair(text: str) -> Pair:
    down, _, across = text.partition("x")
    return int(down), int(across or down)


def suites() -> list[str]:
    """The names of the suites that ship.

    Examples
    --------
    >>> from pyconv.bench import suites
    >>> "resnet50" in suites()
    True
    """
    folder = resources.files("pyconv.bench") / "suites"
    return sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".txt"))


def groups(name: str) -> dict[str, list[Convolution]]:
    """The layers of a suite under the headings that its file has, ``[in brackets]``.

    Parameters
    ----------
    name : str
        One of `suites`.

    Returns
    -------
    dict of str to list of Convolution
        Layers before the first heading are under the suite's name.

    Raises
    ------
    ValueError
        There is none of that name.

    Examples
    --------
    >>> from pyconv.bench import groups
    >>> list(groups("table"))[:2]
    ['first layer', '1x1']
    """
    if name not in suites():
        raise ValueError(f"suite: name must be one of {', '.join(suites())}, got {name!r}")
    text = (resources.files("pyconv.bench") / "suites" / f"{name}.txt").read_text("utf-8")
    found: dict[str, list[Convolution]] = {}
    heading = name
    for line in (line.split("#")[0].strip() for line in text.splitlines()):
        if line.startswith("["):
            heading = line.strip("[]")
        elif line:
            found.setdefault(heading, []).append(parse(line))
    return found


def suite(name: str) -> list[Convolution]:
    """The different layers of a network, in the order of the forward pass; or of the table of
    `bench layers`, ``"table"``, with the batches it trains with.

    Parameters
    ----------
    name : str
        One of `suites`.

    Raises
    ------
    ValueError
        There is none of that name.

    Examples
    --------
    >>> from pyconv.bench import suite
    >>> str(suite("vgg16")[0])
    'conv 3x224x224 64x3x3 p1'
    """
    return [problem for layers in groups(name).values() for problem in layers]
