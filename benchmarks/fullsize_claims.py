"""What `fullsize.py` claims, and its tables."""

from fullsize_networks import NETWORKS
from rich.console import Console
from rich.table import Table

MOST = {
    "entropy": 1.015,
    "minutes": 10.0,
    "memory": 4.0,
    "step": 1.2,
    "step memory": 1.6,
    "k-means memory": 3.0,
    "k-means seconds": 60.0,
    "objective": 1.0 + 1e-4,
    "least objective": 1.01,
}


def claims(result):
    """Of the parts that there are: what, its value, its bound, and whether it held."""
    checked = []

    def claim(what, value, most):
        checked.append(
            {"claim": what, "value": value, "bound": f"<= {most}", "held": value <= most}
        )

    for network in NETWORKS:
        if network in result:
            _of_network(claim, network, result[network])
    for what, value, most in result.get("files", {}).get("claims", []):
        claim(f"VGG-16: {what}", value, most)
    if steps := result.get("steps"):
        plain = steps["memory"]["plain"]["peak_bytes"]
        for kind, times in steps["times"].items():
            claim(f"VGG-16: step while {kind} / plain", times["ratio"], MOST["step"])
            memory = steps["memory"][kind]["peak_bytes"] / plain
            claim(f"VGG-16: memory while {kind} / plain", memory, MOST["step memory"])
    if found := result.get("kmeans"):
        _of_kmeans(claim, found)
    return checked


def _of_network(claim, network, found):
    paper, ours = NETWORKS[network], found["tensorflow"]
    file_bytes = ours["summary"]["file_bytes"]
    claim(f"{paper.title}: file / entropy", file_bytes / entropy_bytes(found), MOST["entropy"])
    claim(f"{paper.title}: file / the paper's", file_bytes / paper.paper_bytes, 1.0)
    for backend in ("tensorflow", "jax"):
        title, on_backend = f"{paper.title} on {backend}", found[backend]
        minutes = on_backend["seconds"] / 60
        claim(f"{title}: minutes to prune, share, code, save", minutes, MOST["minutes"])
        memory = on_backend["peak_bytes"] / on_backend["float32_bytes"]
        claim(f"{title}: peak memory / float32 weights", memory, MOST["memory"])
        claim(f"{paper.title}: variables changed on {backend}", 1 - found[backend]["same_bits"], 0)
    other = ours["weights_sha256"] != found["jax"]["weights_sha256"]
    claim(f"{paper.title}: other weights on the other backend", int(other), 0)


def entropy_bytes(found):
    """The least that the tensors of a network take; all else, such as biases, as in the file."""
    kernels = found["entropy"]["kernels"].values()
    others = found["entropy"]["file_bytes"] - sum(each["bytes"] for each in kernels)
    return others + sum(each["position_bytes"] + each["value_bytes"] for each in kernels)


def _of_kmeans(claim, found):
    for init, ours in found["ours"].items():
        memory = ours["peak_bytes"] / ours["value_bytes"]
        claim(f"k-means, {init}: memory / the values'", memory, MOST["k-means memory"])
        claim(f"k-means, {init}: seconds", ours["seconds"], MOST["k-means seconds"])
    for init, start in (("linear", "linear"), ("compander", "k-means++")):
        ratio = found["ours"][init]["objective"] / found["scikit-learn"][start]["objective"]
        claim(f"k-means: {init} / scikit-learn's {start}", ratio, MOST["objective"])
    sample = found["sample"]
    ratio = sample["compander"] / sample["least"]
    claim("k-means: compander / the least of a sample", ratio, MOST["least objective"])


def print_tables(result):
    console = Console(width=110)
    for name, network in NETWORKS.items():
        if name in result:
            console.print(_layers(network, result[name]))
            console.print(_stages(network, result[name]))
    if "growth" in result:
        console.print(_growth(result["growth"]))


def _table(title, *headings):
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[0] else "right")
    return table


def _layers(network, found):
    summary = found["tensorflow"]["summary"]
    rows = {row["name"]: row for row in summary["tensors"]}
    table = _table(
        f"{network.title}, synthetic weights", "layer", "kept %", "paper's", "bits", "coded",
        "paper's", "bytes", "entropy", "paper's",
    )  # fmt: skip
    for name, layer in network.layers.items():
        row, least = rows[f"{name}/kernel"], found["entropy"]["kernels"][name]
        table.add_row(
            name,
            f"{row['kept_percent']:.1f}",
            f"{100 * layer.density:.0f}",
            f"{row['weight_bits']:.0f}",
            f"{row['weight_bits_huffman']:.1f}",
            f"{layer.weight_bits:.1f}",
            f"{row['bytes']:,}",
            f"{least['position_bytes'] + least['value_bytes']:,.0f}",
            f"{row['size'] * 4 * layer.percent / 100:,.0f}",
        )
    table.add_row(
        f"all: {summary['ratio']:.1f}x, paper's {network.paper_ratio}x",
        f"{summary['kept_percent']:.1f}",
        "", "", "", "", f"{summary['file_bytes']:,}", f"{entropy_bytes(found):,.0f}",
        f"{network.paper_bytes:,.0f}",
    )  # fmt: skip
    return table


def _stages(network, found):
    backends = ("tensorflow", "jax")
    headings = [f"{backend}, {unit}" for backend in backends for unit in ("s", "peak / weights")]
    table = _table(f"{network.title}, stages", "stage", *headings)
    for stage in found["tensorflow"]["stages"]:
        cells = []
        for backend in backends:
            of_stage = found[backend]["stages"][stage]
            peak = of_stage["peak_bytes"] / found[backend]["float32_bytes"]
            cells += [f"{of_stage['seconds']:.1f}", f"{peak:.2f}"]
        table.add_row(stage, *cells)
    return table


def _growth(found):
    sizes = [size for size in found.values() if isinstance(size, dict)]
    stages = list(sizes[0]["stages"])
    table = _table("One dense layer, 32 clusters", "weights", *[f"{s}, s" for s in stages],
                   *[f"{s}, bytes / weight" for s in stages])  # fmt: skip
    for size in sizes:
        of_stages = size["stages"].values()
        seconds = [f"{stage['seconds']:.3f}" for stage in of_stages]
        peaks = [f"{stage['peak_bytes'] / size['weights']:.1f}" for stage in of_stages]
        table.add_row(f"{size['weights']:,}", *seconds, *peaks)
    return table
