"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from polyalign.cli._bucket import bucket
from polyalign.cli._count import count
from polyalign.cli._show import show

app = typer.Typer(
    name="polyalign",
    no_args_is_help=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="[bold]polyalign COMMAND --help[/bold] explains each, with examples. Documentation: docs/cli.md",
)
app.command()(bucket)
app.command()(count)
app.command()(show)


@app.command()
def demo(
    output: Annotated[str, typer.Option("--out", "-o", help="Folder to write to.", metavar="DIR")] = "demo",
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
) -> None:
    """Bucket a small bilingual corpus of human conversations, in under a minute and without network.

    Needs the extra [bold]demo[/bold]: pip install 'polyalign[demo]'
    """
    from polyalign.demo import run_demo

    run_demo(output)


@app.callback()
def polyalign(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Bucket a corpus of human interactions by language, track, family and length.

    [bold]Start here[/bold]

    polyalign bucket corpus.jsonl --limit 1000 --dry-run     what is in it? (writes nothing)

    polyalign bucket corpus.jsonl --tokenizer Qwen/Qwen2.5-1.5B --out bucketed/

    polyalign show bucketed/ --bucket "en|single|qa|short"     look at rows

    polyalign count *.txt --tokenizer tokenizer.json     tokens per file
    """
    if version:
        import polyalign as package

        typer.echo(f"polyalign {package.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
