"""Problems as one-line strings, and suites of them as text files.

A convolution is written ``conv 64x56x56 128x3x3 s2 p1 g1 d1``: the input's C×H×W, the output
channels and the kernel's KH×KW, then stride, padding, groups and dilation where they are not 1, 0,
1, 1. ``dw`` in the place of ``conv`` means one group for each channel. The batch is given apart.
"""

from __future__ import annotations

import dataclasses
import re
from importlib import resources


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution layer, for any batch.

    Attributes
    ----------
    channels, height, width : int
        Of the input.
    out_channels : int
    kernel : (int, int)
    stride, padding, groups, dilation : int
    """

    channels: int
    height: int
    width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1

    def __str__(self) -> str:
        depthwise = self.groups == self.channels > 1
        parts = [
            "dw" if depthwise else "conv",
            f"{self.channels}x{self.height}x{self.width}",
            f"{self.out_channels}x{self.kernel[0]}x{self.kernel[1]}",
        ]
        for letter, value, default in (
            ("s", self.stride, 1),
            ("p", self.padding, 0),
            ("g", self.groups, self.channels if depthwise else 1),
            ("d", self.dilation, 1),
        ):
            if value != default:
                parts.append(f"{letter}{value}")
        return " ".join(parts)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Cout, Cin/groups, KH, KW."""
        return (self.out_channels, self.channels // self.groups, *self.kernel)

    @property
    def geometry(self) -> dict[str, int]:
        """The keywords of `kernels.conv2d`."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def input_shape(self, batch: int) -> tuple[int, int, int, int]:
        """N, C, H, W."""
        return (batch, self.channels, self.height, self.width)

    def output_shape(self, batch: int) -> tuple[int, int, int, int]:
        """N, Cout, OH, OW."""
        rows, columns = (
            (size + 2 * self.padding - self.dilation * (k - 1) - 1) // self.stride + 1
            for size, k in zip((self.height, self.width), self.kernel, strict=True)
        )
        return (batch, self.out_channels, rows, columns)

    def flops(self, batch: int) -> float:
        """Two for each product; taps on padding are counted."""
        n, channels, rows, columns = self.output_shape(batch)
        return (
            2.0
            * n
            * channels
            * rows
            * columns
            * self.weight_shape[1]
            * self.kernel[0]
            * (self.kernel[1])
        )


_PROBLEM = re.compile(r"(conv|dw) (\d+)x(\d+)x(\d+) (\d+)x(\d+)x(\d+)((?: [spgd]\d+)*)")


def parse(text: str) -> Convolution:
    """The problem that a string says.

    Parameters
    ----------
    text : str

    Returns
    -------
    Convolution

    Raises
    ------
    ValueError
        The string says none.

    Examples
    --------
    >>> from pyconv.bench import parse
    >>> parse("conv 64x56x56 128x3x3 s2 p1").output_shape(1)
    (1, 128, 28, 28)
    """
    match = _PROBLEM.fullmatch(text.strip())
    if not match:
        raise ValueError(
            f"parse: a problem is written like 'conv 64x56x56 128x3x3 s2 p1', got {text!r}"
        )
    kind, *numbers, options = match.groups()
    c, h, w, out, kh, kw = map(int, numbers)
    given = {part[0]: int(part[1:]) for part in options.split()}
    groups = given.get("g", c if kind == "dw" else 1)
    return Convolution(
        c, h, w, out, (kh, kw), given.get("s", 1), given.get("p", 0), groups, given.get("d", 1)
    )


def suites() -> list[str]:
    """The names of the suites that ship."""
    folder = resources.files("pyconv.bench") / "suites"
    return sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".txt"))


def suite(name: str) -> list[Convolution]:
    """The different layers of a network, in the order of the forward pass.

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
    if name not in suites():
        raise ValueError(f"suite: name must be one of {', '.join(suites())}, got {name!r}")
    text = (resources.files("pyconv.bench") / "suites" / f"{name}.txt").read_text("utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [parse(line) for line in lines if line]
