"""Some made-up answers, as people write them and as assistants do, and their scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyalign.reference import Reference

__all__ = ["answers", "print_scores"]

_MULTI = {
    "en": ("Good morning, how are you?", "I am doing well, and you?", "I am fine, thanks."),
    "zh": ("早上好,你还好吗", "我很好,你呢", "我也很好"),
}
# By bucket: the user's turns with the replies between them, an answer as people write it and one as assistants do.
_ANSWERS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "en|single|qa|short": (
        ("Which planet is the largest?",),
        "It is Jupiter.",
        "Great question! The largest planet in our solar system is **Jupiter**. Would you like to know more about it?",
    ),
    "en|single|dialogue|medium": (
        ("Do you like rainy days?",),
        "I do, if I can stay in and read a book.",
        "As an AI language model, I don't have personal preferences. However, many people enjoy rainy days:\n\n"
        "- **Relaxation**: The sound of rain can be soothing.\n- **Reading**: It is a great time for a book.",
    ),
    "en|multi|dialogue|short": (
        _MULTI["en"],
        "That's good to hear.",
        "I'm glad to hear you're doing well! How can I assist you today? Please don't hesitate to let me know.",
    ),
    "zh|single|qa|short": (
        ("最大的行星是哪一颗？",),
        "是木星。",
        "这是一个很好的问题！太阳系中最大的行星是**木星**。如果您想了解更多信息，请随时告诉我！",
    ),
    "zh|single|dialogue|medium": (
        ("你喜欢下雨天吗",),
        "喜欢,可以在家里看书。",
        "作为一个人工智能语言模型，我没有个人喜好。不过，很多人喜欢下雨天，原因如下：\n\n"
        "- **放松**：雨声可以让人平静。\n- **阅读**：这是读书的好机会。",
    ),
    "zh|multi|dialogue|short": (
        _MULTI["zh"],
        "那就好",
        "很高兴听到您一切都好！请问今天有什么可以帮助您的吗？如果您有任何问题，请随时告诉我。",
    ),
}


def answers() -> Iterator[dict[str, Any]]:
    """Made-up answers with the bucket of the human answer that each stands in for."""
    for bucket, (turns, human, assistant) in _ANSWERS.items():
        prompt = [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(turns)]
        for writer, answer in (("human", human), ("assistant", assistant)):
            yield {"id": f"{bucket}/{writer}", "prompt": prompt, "completion": answer, "bucket": bucket}


def print_scores(reference: Reference) -> None:
    """Print a line for each of the answers: how far it is from its bucket's humans, and what stands out most."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from polyalign._text import tables

    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("bucket", overflow="fold")
    table.add_column("answer", overflow="ellipsis", no_wrap=True, max_width=40)
    for name in ("distance", "percentile"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what stands out most", overflow="fold")
    for answer in answers():
        found = reference.explain(answer["completion"], answer["bucket"], prompt=answer["prompt"], most=1)
        cells = [
            answer["bucket"] if answer["id"].endswith("/human") else "",
            " ".join(answer["completion"].split()),
            "–" if found.distance is None else f"{found.distance:.3f}",
            "–" if found.percentile is None else f"{found.percentile:.0%}",
            found.outside[0].words if found.outside else "",
        ]
        table.add_row(*map(Text, cells), end_section=answer["id"].endswith("/assistant"))
    tables.console().print(table)
