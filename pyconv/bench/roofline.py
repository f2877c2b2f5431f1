"""The roofline plot: rates against arithmetic intensity, under what the machine allows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from pyconv.bench.results import Result

_MARKERS = {"forward": "o", "input": "s", "weight": "^"}


def figure_class() -> Any:
    """matplotlib's, or an ImportError that says where it comes from."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "roofline: matplotlib is not installed; it comes with the extra plot: "
            "pip install 'pyconv[plot]'"
        ) from None
    return Figure


def roofline(
    results: Sequence[Result], peak: float, bandwidths: Mapping[str, float], title: str = ""
) -> bytes:
    """Draw the results under the machine's limits (Williams, Waterman and Patterson, Roofline: an
    insightful visual performance model for multicore architectures, 2009).

    Parameters
    ----------
    results : sequence of Result
    peak : float
        Flops a second.
    bandwidths : mapping of str to float
        Bytes a second, by the name of the level.
    title : str

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ImportError
        matplotlib is not there.

    Examples
    --------
    >>> from pyconv.bench import bench, parse, roofline
    >>> found = bench(parse("c4 k8 h6 r3"), peak=1e11, seconds=0.01)
    >>> roofline(found, 1e11, {"memory": 1e10})[:4]
    b'\\x89PNG'
    """
    figure = figure_class()(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    intensities = [r.flops / r.bytes for r in results]
    low, high = min(0.1, *intensities) / 2, max(100.0, *intensities) * 2
    for (level, bandwidth), style in zip(bandwidths.items(), ("-", "--", ":", "-."), strict=False):
        corner = min(max(peak / bandwidth, low), high)
        axes.plot(
            [low, corner, high],
            [low * bandwidth / 1e9, min(peak, corner * bandwidth) / 1e9, peak / 1e9],
            color="black",
            linestyle=style,
            linewidth=1,
            label=f"{level} {bandwidth / 1e9:.0f} GB/s, peak {peak / 1e9:.0f} GFLOP/s",
        )
    algorithms = sorted({r.algorithm for r in results})
    for direction, marker in _MARKERS.items():
        for i, algorithm in enumerate(algorithms):
            here = [r for r in results if (r.direction, r.algorithm) == (direction, algorithm)]
            if here:
                axes.scatter(
                    [r.flops / r.bytes for r in here],
                    [r.gflops for r in here],
                    s=24,
                    marker=marker,
                    color=f"C{i % 10}",
                    label=f"{direction}, {algorithm}",
                )
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        xlabel="flops of a direct kernel for each byte of input, weight and output",
        ylabel="GFLOP/s",
        title=title,
    )
    axes.grid(True, which="both", linewidth=0.3)
    axes.legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
