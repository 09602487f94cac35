"""A plan as a person reads it: the verdict, a GPU's memory as a bar, the splits that fit, or what to change, and why others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from llama_operator.api.v1alpha1 import KvCacheDtype
from llama_operator.cli.question import Question
from llama_operator.planning.facts import ModelFacts
from llama_operator.planning.fit.kv import COMPRESSED_TENSORS
from llama_operator.planning.fit.nearest import Change
from llama_operator.planning.fit.option import Fit, Rejected, context_of
from llama_operator.planning.fit.plan import FitPlan
from llama_operator.planning.hardware.accelerators import GIB

VERDICTS = {"fits": ("fits", "bold green"), "does_not_fit": ("does not fit", "bold red"), "invalid": ("invalid", "bold red")}
KNOWN_FROM = {
    "checkpoint": "read from the headers of its files",
    "catalogue": "known from the catalogue",
    "config": "computed from its config.json",
}
ROWS = 10
"""Rows of a table; the rest is counted."""
BAR = 60
"""Most characters of a bar."""
WIDE = 100
"""Columns of a terminal from which on the splits are shown with all their numbers."""
FOOTNOTE = (
    "A token, first token, sequences: at the wished context; tokens/s: with a full cache.\n"
    "Least times and highest rates that the data sheet's bandwidth and arithmetic allow: no engine reaches them."
)
PARTS = (("weights", "█#", "blue"), ("overhead", "▓+", "magenta"), ("KV room", "▒=", "green"), ("free", "░.", "bright_black"))
"""What a bar shows: name, mark with the one for ASCII, and colour."""


def plan_tables(question: Question, plan: FitPlan, width: int, *, ascii_only: bool = False) -> Iterator[RenderableType]:
    """All of it, from the verdict to the details, for so many columns; `ascii_only`: where nothing else can be shown."""
    words, style = VERDICTS[plan.verdict]
    yield Group(Text.assemble((f"{plan.model} on {_machine(question)}: ", "bold"), (words, style)), _facts(question))
    if plan.chosen is not None:
        yield _chosen(question, plan.chosen, width, ascii_only=ascii_only)
        yield _splits(question, [plan.chosen, *plan.alternatives], wide=width >= WIDE)
    if plan.verdict == "does_not_fit":
        yield _nearest(plan.nearest)
    if plan.rejected:
        yield _rejected(plan.rejected)


def gib(count: int) -> str:
    """Bytes in GiB, as tables show them."""
    return f"{count / GIB:.1f}"


def _machine(question: Question) -> str:
    hardware, nodes = question.hardware, question.wishes.nodes
    if hardware.accelerator.is_cpu:
        return "cpu"
    most = f", at most {nodes} nodes" if nodes > 1 and question.wishes.pipeline is None else ""
    return f"{hardware.accelerator.name}, {hardware.gpus_per_node} to a node{most}"


def _facts(question: Question) -> Padding:
    model, wishes = question.model, question.wishes
    grid = Table.grid(padding=(0, 2))
    stored = model.dtype if model.quantization is None else f"{model.quantization.method}, else {model.dtype}"
    grid.add_row(
        "model",
        f"{model.shape.layers} layers, {gib(model.checkpoint_bytes)} GiB of weights ({stored}), {KNOWN_FROM[model.known_from]}",
    )
    sequences = "1 sequence" if wishes.concurrency == 1 else f"{wishes.concurrency:,} sequences at once, each"
    cache = f"a KV cache in {_cache_type(model, wishes.kv_cache_dtype)}"
    cache += f", weights quantised to {wishes.quantization}" if wishes.quantization else ""
    grid.add_row("wished", f"{sequences} of {context_of(model, wishes):,} tokens, {cache}")
    return Padding(grid, (0, 0, 0, 2))


def _cache_type(model: ModelFacts, wished: KvCacheDtype) -> str:
    """What the KV cache will be in, as `kv.model_value_bytes` counts it."""
    brought = model.quantization.kv_cache if model.quantization is not None else None
    if model.quantization is not None and brought is not None and (wished == "auto" or model.quantization.method == COMPRESSED_TENSORS):
        return f"{brought}, which the checkpoint brings"
    return "the model's type" if wished == "auto" else wished


def split_of(fit: Fit) -> str:
    """A split in words, with what it takes."""
    words = f"tensor {fit.tensor} x pipeline {fit.pipeline}"
    if fit.gpus == 0:
        return f"{words}, on the CPU"
    gpus = "1 GPU" if fit.gpus == 1 else f"{fit.gpus} GPUs"
    return f"{words}, {gpus} on {fit.nodes} node{'s' if fit.nodes > 1 else ''}"


def _chosen(question: Question, fit: Fit, width: int, *, ascii_only: bool) -> Group:
    parts: list[RenderableType] = [Text.assemble(("Chosen: ", "bold"), (split_of(fit), "bold green"))]
    bar = memory_bar(question, fit, max(20, min(BAR, width - 36)), ascii_only=ascii_only)
    if bar is not None:
        parts.append(Padding(bar, (0, 0, 0, 2)))
    parts += [Padding(Text(f"note: {note}", style="yellow"), (0, 0, 0, 2)) for note in fit.notes]
    return Group(*parts)


def memory_bar(question: Question, fit: Fit, characters: int, *, ascii_only: bool) -> Text | None:
    """The memory of the GPU with the most weights as a bar, and its numbers; None where the memory is not a GPU's."""
    accelerator, wishes = question.hardware.accelerator, question.wishes
    if accelerator.is_cpu or accelerator.memory is None:
        return None
    budget = int(accelerator.memory * wishes.utilization)
    room = budget - fit.weight_bytes - fit.overhead_bytes
    sizes = (fit.weight_bytes, fit.overhead_bytes, room, accelerator.memory - budget)
    text, legend = Text("memory of each GPU  "), Text(" " * 20)
    for (name, marks, style), size, width in zip(PARTS, sizes, _widths(sizes, characters), strict=True):
        mark = marks[ascii_only]
        text.append(mark * width, style=style)
        legend.append(mark, style=style)
        legend.append(f" {name} {gib(size)}  ")
    text.append(f"  {gib(accelerator.memory)} GiB\n")
    return text.append_text(legend)


def _widths(sizes: Sequence[int], width: int) -> list[int]:
    """Whole characters for each size, `width` together; no size but 0 is shown as nothing. The largest gives what is missing."""
    total = sum(sizes)
    found = [max(1, round(size * width / total)) if size else 0 for size in sizes]
    found[max(range(len(sizes)), key=sizes.__getitem__)] += width - sum(found)
    return found


def _splits(question: Question, fits: Sequence[Fit], *, wide: bool) -> Group:
    wishes, table = question.wishes, _table()
    cpu = question.hardware.accelerator.is_cpu
    each = "rank" if cpu else "GPU"
    timed = any(fit.step_floor_seconds is not None or fit.first_token_seconds is not None for fit in fits)
    columns: list[tuple[str, Callable[[Fit], str], bool]] = [
        ("tensor x\npipeline", lambda fit: f"{fit.tensor} x {fit.pipeline}", True),
        ("GPUs", lambda fit: str(fit.gpus), not cpu),
        ("nodes", lambda fit: str(fit.nodes), any(fit.nodes > 1 for fit in fits)),
        ("replicas\na node", lambda fit: _or_dash(fit.replicas_per_node, "{}"), any((fit.replicas_per_node or 1) > 1 for fit in fits)),
        (f"weights\nGiB/{each}", lambda fit: gib(fit.weight_bytes), wide),
        (f"KV room\nGiB/{each}", lambda fit: gib(fit.kv_bytes), wide),
        ("KV cache\ntokens", lambda fit: f"{fit.cache.tokens:,}", True),
        ("sequences\nat once", lambda fit: f"{fit.cache.requests:,}", True),
        ("a token\nms", lambda fit: _or_dash(fit.step_floor_seconds, "{:.1f}", 1e3), timed),
        ("first token\ns", lambda fit: _or_dash(fit.first_token_seconds, "{:.2f}"), wide and timed),
        ("tokens/s", lambda fit: _or_dash(fit.tokens_per_second, "{:,.0f}"), timed),
        ("load\ns", lambda fit: _or_dash(fit.load_seconds, "{:,.0f}"), wishes.read_bytes_per_second is not None),
        ("price of\n1M tokens", lambda fit: _or_dash(fit.price_per_million_tokens, "{:,.2f}"), wishes.price_per_gpu_hour is not None),
    ]
    wanted = [column for column in columns if column[2]]
    for title, _, _ in wanted:
        table.add_column(title, justify="right", no_wrap=True)
    for index, fit in enumerate(fits[:ROWS]):
        table.add_row(*(show(fit) for _, show, _ in wanted), style="bold green" if index == 0 else None)
    return _section("Splits that fit, best first", table, len(fits) - ROWS, FOOTNOTE if timed else "")


def _or_dash(value: float | None, form: str, factor: float = 1) -> str:
    """A number, or a dash for what is not known."""
    return "-" if value is None else form.format(value if factor == 1 else value * factor)


def _rejected(rejected: Sequence[Rejected]) -> Group:
    table = _table()
    table.add_column("split", no_wrap=True)
    table.add_column("why", no_wrap=True)
    table.add_column("in numbers", overflow="fold")
    rows = list(_grouped(rejected))
    for row in rows[:ROWS]:
        table.add_row(*row)
    return _section("Splits that do not fit", table, len(rows) - ROWS)


def _grouped(rejected: Sequence[Rejected]) -> Iterator[tuple[str, str, str]]:
    """One row for what one rule refuses: all pipelines of a tensor parallelism, or all tensor parallelisms that no pipeline would help.

    The numbers are those of the last, which of pipelines is the nearest to fitting.
    """
    groups: dict[tuple[int | None, str], list[Rejected]] = {}
    for each in rejected:
        groups.setdefault((None if each.pipeline is None else each.tensor, each.rule), []).append(each)
    for (tensor, rule), members in groups.items():
        last = members[-1]
        if len(members) == 1:
            yield last.option, rule, last.reason
        elif tensor is None:
            yield _tensors([each.tensor for each in members]), rule, f"at {last.tensor}: {last.reason}"
        else:
            yield f"tensor {tensor} x pipeline {members[0].pipeline} to {last.pipeline}", rule, f"at {last.pipeline}: {last.reason}"


def _tensors(tensors: Sequence[int]) -> str:
    if len(tensors) <= 6:
        return f"tensor {', '.join(map(str, tensors))}"
    return f"tensor {', '.join(map(str, tensors[:4]))} … {tensors[-1]}"


def _nearest(nearest: Sequence[Change]) -> Group:
    table = _table()
    table.add_column("change", overflow="fold")
    table.add_column("then", overflow="fold")
    table.add_column("sequences\nat once", justify="right", no_wrap=True)
    for change in nearest:
        table.add_row(change.change, split_of(change.fit), f"{change.fit.cache.requests:,}")
    if not nearest:
        return Group(Text("No single change makes it fit: take a smaller model, or another accelerator.", style="bold"))
    return _section("What to change: one of these", table)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def _section(title: str, table: Table, more: int = 0, footnote: str = "") -> Group:
    """A table under its title, and what is to be said below it; `more`: rows that are not shown."""
    parts: list[RenderableType] = [Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]
    if more > 0:
        parts.append(Text(f"  and {more} more: -o json lists all", style="dim"))
    if footnote:
        parts.append(Padding(Text(footnote, style="dim"), (0, 0, 0, 2)))
    return Group(*parts)
