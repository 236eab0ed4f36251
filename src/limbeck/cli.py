"""The command line: parse, call one function, print what it returned."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from limbeck import __version__
from limbeck.ending import one_line_errors
from limbeck.walking import walk

# Torch's threads spin while they wait for each other, by default so long that beside other work on the machine
# small nets are ten times slower. This costs nothing where it is quiet. Read when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

app = typer.Typer(
    name="limbeck",
    help="Knowledge distillation: a large model into a small fast one, and what it cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeArgument = Annotated[str, typer.Argument(help="A bundled recipe's name, or the path of a TOML file.")]
Out = Annotated[Path | None, typer.Option(help="The run's folder [default: runs/RECIPE].", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: a dotted path, parts by name or *."),
]
Seed = Annotated[int, typer.Option(help="Of initialisation, order, dropout and views; never of the split.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Set the old run aside and make all anew.")]
Device = Annotated[
    str, typer.Option(help="Where networks are trained and asked: cpu, cuda, cuda:1 …; auto: a GPU where there is one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done: stages, rows, bytes, minutes.")]

TextColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="The column of texts, where the file calls it otherwise than the model's data; twice for pairs.",
        show_default=False,
    ),
]


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where something fails.")] = False,
) -> None:
    """Knowledge distillation: a large model into a small fast one, and what it cost."""
    context.obj = debug
    if version:
        typer.echo(f"limbeck {__version__}")
        raise typer.Exit


@app.command()
def run(
    recipe: RecipeArgument,
    out: Out = None,
    sets: Sets = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """From data to report; the same command again continues, or says that there is nothing to do."""
    walk(recipe, "report", out=out, sets=sets, seed=seed, device=device, dry_run=dry_run, fresh=fresh)


@app.command()
def teach(
    recipe: RecipeArgument,
    out: Out = None,
    sets: Sets = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """The run as far as its teachers."""
    walk(recipe, "teach", out=out, sets=sets, seed=seed, device=device, dry_run=dry_run)


@app.command()
def extract(
    recipe: RecipeArgument,
    out: Out = None,
    sets: Sets = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
    given: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="The teacher's predictions (.csv, .parquet, .npz), or a model (.onnx, .skops), in place of the "
            "recipe's own: as --set teacher.NAME.from=FILE, which the later stages are to be given, too.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Whose, where the recipe has several.", show_default=False)
    ] = None,
) -> None:
    """The run as far as the knowledge: the teachers' outputs, on disk."""
    if given is not None:
        from limbeck.recipe import read_recipe, teacher_from

        sets = [*(sets or []), teacher_from(read_recipe(recipe), str(given), teacher)]
    walk(recipe, "extract", out=out, sets=sets, seed=seed, device=device, dry_run=dry_run)


@app.command()
def distill(
    recipe: RecipeArgument,
    out: Out = None,
    sets: Sets = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """The run as far as its students and baselines."""
    walk(recipe, "distill", out=out, sets=sets, seed=seed, device=device, dry_run=dry_run)


@app.command()
def evaluate(
    recipe: Annotated[
        str,
        typer.Argument(help="A recipe's name or TOML file; or, with ROWS, a saved model: a folder or an ONNX file."),
    ],
    rows: Annotated[
        str | None,
        typer.Argument(
            help="Labelled rows for a saved model: a run's folder (its test rows), a data set's name, or a table.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    sets: Sets = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
    label: Annotated[
        str | None,
        typer.Option(help="With ROWS that are a table or texts: the column of labels.", show_default=False),
    ] = None,
    text: TextColumn = None,
) -> None:
    """The run as far as results.json: every model on the test rows. With ROWS: a saved model on those."""
    if rows is None:
        walk(recipe, "evaluate", out=out, sets=sets, seed=seed, device=device, dry_run=dry_run)
        return
    from limbeck.devices import using_device
    from limbeck.prediction import measured
    from limbeck.terminal import results_table

    with using_device(device):
        row = measured(Path(recipe), rows, label=label, text=text or (), say=_say)
    typer.echo(results_table([row]))


@app.command()
def report(
    recipe: RecipeArgument,
    out: Out = None,
    sets: Sets = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """The whole run, to report.html."""
    walk(recipe, "report", out=out, sets=sets, seed=seed, device=device, dry_run=dry_run)


@app.command()
def recipes() -> None:
    """What recipes there are, and how long each takes."""
    from limbeck.recipe import load_recipe
    from limbeck.recipes import bundled_recipes

    names = bundled_recipes()
    for name in names:
        recipe = load_recipe(name)
        minutes = "" if recipe.minutes is None else f" (about {_minutes(recipe.minutes)} on two cores)"
        typer.echo(f"{name.ljust(max(map(len, names)))}  {recipe.title}{minutes}")


@app.command()
def init(
    table: Annotated[Path, typer.Argument(metavar="FILE", help="A table (.csv, .tsv, .parquet), or texts (.jsonl).")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="The column of classes, to be learnt.")],
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="The column of texts for an encoder to learn from; twice for pairs [default: of .jsonl text].",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Test rows with the same columns [default: a share of the rows is held out].",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="The recipe [default: beside the table].", show_default=False),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="A teacher that exists: a saved model, an .onnx or .skops file, or a file of predictions; of texts a "
            "Hugging Face folder or hub name [default: a forest and gradient boosting; of texts MiniLM].",
            show_default=False,
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load all types in the .skops file: one that you or a friend made.")
    ] = False,
) -> None:
    """A recipe for a table or texts of one's own, filled in and commented, to run as it stands."""
    from limbeck.initial.recipe import write_recipe

    written = write_recipe(table, label, out, text=text or (), test=test, teacher=teacher, trust=trust)
    for line in written.lines():
        typer.echo(line)


@app.command()
def inspect(
    path: Annotated[
        Path, typer.Argument(help="An artifact, wherever it lies, a run, an ONNX file, or a Hugging Face folder.")
    ],
    verify: Annotated[bool, typer.Option("--verify", help="Exit 0 if whole, 1 if damaged, each file named.")] = False,
) -> None:
    """What an artifact or a run is."""
    from limbeck.inspection import facts, verification
    from limbeck.run_folder import RunFolder

    if verify:
        found = verification.verify(path)
        for damage in found:
            typer.echo(str(damage), err=True)
        if found:
            raise typer.Exit(1)
        unfinished = RunFolder(path).is_run() and not RunFolder(path).is_sealed()
        typer.echo(f"{path} is whole so far: the run is not finished" if unfinished else f"{path} is whole")
        return
    described = facts.inspect(path)
    typer.echo(f"{described.path}: {described.kind}")
    width = max(map(len, described.facts))
    for name, value in described.facts.items():
        typer.echo(f"  {name.ljust(width)}  {value}")
    for title, table in described.tables.items():
        typer.echo(f"\n{title}\n{table}")


@app.command()
def predict(
    model: Annotated[
        Path, typer.Argument(help="A model's folder (an artifact, or a run's models/…), or an ONNX file.")
    ],
    inputs: Annotated[
        str,
        typer.Argument(
            help="A table (.csv, .parquet), an image or a folder of images, an idx, .npy or .npz file, texts (.jsonl, "
            ".txt) or one in quotes, a data set's name, or a run's folder (its test rows)."
        ),
    ],
    text: TextColumn = None,
    top: Annotated[int, typer.Option(help="Classes to show for each row.", min=1)] = 3,
    rows: Annotated[int | None, typer.Option(help="Only the first rows.", min=1, show_default=False)] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out damaged images, and name them, in place of an error.")
    ] = False,
) -> None:
    """Classes with probabilities, a line for each row of the inputs."""
    from limbeck.prediction import predictions

    for line in predictions(model, inputs, text=text or (), top=top, rows=rows, skip_damaged=skip_damaged, say=_say):
        typer.echo(line)


@app.command()
def explain(
    model: Annotated[
        Path, typer.Argument(help="The folder of a soft decision tree: an artifact, or a run's models/….")
    ],
    inputs: Annotated[str, typer.Argument(help="An idx, .npy or .npz file, or a data set's name (its test rows).")],
    row: Annotated[int, typer.Option(help="The row to explain; the first is 0.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write the tree: a page to explore it (.html), a drawing with the row's path (.svg), its "
            "questions as text (.txt), or its numbers (.json).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Why a soft decision tree gives a row its class: turn by turn, and the smallest change that leads elsewhere."""
    from limbeck.explaining import explained

    typer.echo(explained(model, inputs, row, out))
    if out is not None:
        typer.echo(f"tree: {out}")


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A model's folder: an artifact, or a run's models/….")],
    to: Annotated[str, typer.Option(help="The form: onnx, or of an encoder of texts huggingface.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="The file (.onnx), or of huggingface the folder [default: the model's name, here].",
            show_default=False,
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also write FILE.int8.onnx, with weights of 8 bits.")] = False,
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="INPUTS",
            help="Real rows to check the file on, as for predict [default: the run's test rows].",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of labels in these rows.", show_default=False)
    ] = None,
) -> None:
    """An ONNX file, or a Hugging Face folder, held against the model on real rows, and a model card."""
    from limbeck.errors import UsageError
    from limbeck.exporting import export as exported
    from limbeck.exporting import export_huggingface

    if to not in ("onnx", "huggingface"):
        raise UsageError(f'to = "{to}": expected onnx or huggingface')
    if to == "huggingface":
        if int8:
            raise UsageError("int8: a Hugging Face folder holds float32 weights; leave --int8 out, or give --to onnx")
        for line in export_huggingface(model, out, rows=rows, label=label).lines():
            typer.echo(line)
        return
    for line in exported(model, out, int8=int8, rows=rows, label=label).lines():
        typer.echo(line)


@app.command()
def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="A public table (letters, diamonds), texts (reviews, tweets, products, glosses, english), "
            "or an encoder (minilm)."
        ),
    ],
    given: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="The file it comes in, where this machine cannot get it.", show_default=False
        ),
    ] = None,
) -> None:
    """Something public into the user's cache, its checksum verified; `run` does it where it is missing."""
    from limbeck.data import fetch as fetched

    typer.echo(fetched(name, given, say=_say))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Runs' folders, or results.json files, of one recipe.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a Markdown table.")] = False,
    paired: Annotated[
        bool, typer.Option("--paired", help="Also students against baselines over all seeds, test row by test row.")
    ] = False,
) -> None:
    """Seeds of a recipe beside each other: median and spread of each row."""
    from limbeck.results.comparison import comparison_table
    from limbeck.results.paired import paired_table

    tables = [comparison_table(runs, markdown=markdown), *([paired_table(runs, markdown=markdown)] if paired else [])]
    typer.echo("\n\n".join(tables))


def main() -> None:
    """The command: errors that a user can mend are one line on stderr, with an exit code of their own."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    with one_line_errors(arguments, debug="--debug" in sys.argv[1:]):
        code = app(arguments, standalone_mode=False)
        if code == 130:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _minutes(minutes: float) -> str:
    return f"{minutes * 60:.0f} seconds" if minutes < 1 else f"{minutes:g} minutes"
