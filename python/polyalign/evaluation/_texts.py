"""What an evaluation says to people, in English and Chinese: one table, so that nothing is said in one alone."""

from __future__ import annotations

from typing import Any

from polyalign._text.words import counted

__all__ = ["TEXTS", "Said", "in_chinese", "said"]


class Said(str):
    """A text in English that has its Chinese with it."""

    chinese: str
    __slots__ = ("chinese",)

    def __new__(cls, english: str, chinese: str) -> Said:
        """Return the English text."""
        found = super().__new__(cls, english)
        found.chinese = chinese
        return found

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.chinese


class _Count(int):
    """A number that is spelt with what there are so many of: ``{n:prompt}``, ``{n:reply,replies}``."""

    def __format__(self, spec: str) -> str:
        one, _, many = spec.partition(",")
        return counted(int(self), one, many or None) if one else f"{int(self):,}"


def said(key: str, **values: Any) -> Said:
    """Return a text of the table, filled in; what is filled in may itself be said in two languages.

    Examples
    --------
    >>> few = said("not_enough", n=7, need=20)
    >>> few, few.chinese
    ('not enough (n=7, need 20)', '不足（n=7，需要 20）')
    """
    given = {
        name: _Count(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in values.items()
    }
    english, chinese = TEXTS[key]
    return Said(
        english.format(**given),
        chinese.format(**{name: in_chinese(value) for name, value in given.items()}),
    )


def in_chinese(value: Any) -> Any:
    """Return the Chinese of what has one, else the value as it is."""
    return value.chinese if isinstance(value, Said) else value


TEXTS: dict[str, tuple[str, str]] = {
    "not_enough": ("not enough (n={n}, need {need})", "不足（n={n}，需要 {need}）"),
    # --- Judges, detectors, people.
    "judge": ("judge {who}", "评委 {who}"),
    "judge_part": ("{who}: {part}", "{who}：{part}"),
    "wins": ("wins by {who}", "胜率（{who}）"),
    "wins_over": ("wins over {against} by {who}", "对 {against} 的胜率（{who}）"),
    "detector": ("AUROC {who}", "AUROC {who}"),
    "detector_cut": ("AUROC {who}, equal length", "AUROC {who}，等长"),
    "people": ("people: {part}", "人评：{part}"),
    "picked": ("taken for human", "被当作人类"),
    "joint": ("joint score", "联合得分"),
    "joint_people": ("joint score, people", "联合得分（人评）"),
    "judge_formula": (
        "Mean of what the judge {who} gives for {part}; humans' where it scored them too: it saw them as the "
        "reference, with which they agree by construction.",
        "评委 {who} 对{part}所给分数的平均；若人类回答也被评分则列出：评委以其为参考，因此天然一致。",
    ),
    "wins_formula": (
        "Share of pairs in which the judge {who} chooses the model's answer in both orders, and half of those in which "
        "the order decides or neither is chosen; beside the human's: .5 where it can't tell.",
        "评委 {who} 在两种顺序下都选择模型回答的比例，由顺序决定或都不选的计一半；与人类回答相比，无法分辨时为 0.5。",
    ),
    "wins_over_formula": (
        "Share of pairs in which the judge {who} chooses the model's answer over {against}'s in both orders, and half "
        "of those in which the order decides or neither is chosen.",
        "评委 {who} 在两种顺序下都选择该模型而非 {against} 的比例，由顺序决定或都不选的计一半。",
    ),
    "detector_formula": (
        "AUROC of {who} over the bucket's answers: share of pairs, a human's and the model's, in which it finds the "
        "model's more of a machine's; .5 where they can't be told apart.",
        "{who} 在该桶回答上的 AUROC：人类与模型各取一条时，检测器认为模型的更像机器的比例；无法分辨时为 0.5。",
    ),
    "detector_cut_formula": (
        "The same, the longer of each two cut at the words of the shorter, so that length tells nothing.",
        "同上，但每对中较长的按词截至较短者，使长度不提供信息。",
    ),
    "people_formula": (
        "Mean of people's ratings, 1 to 5, of answers whose authors they did not know: {part}.",
        "人们在不知作者的情况下所给评分（1 至 5）的平均：{part}。",
    ),
    "picked_formula": (
        "Share of choices in which people took the model's answer for the human's beside it; .5 where nobody can tell.",
        "人们在并列的两条中把模型回答当作人类所写的比例；无人能分辨时为 0.5。",
    ),
    "joint_formula": (
        "Harmonic mean of quality, the judges' overall / 100, and human-likeness, 2·(1 − AUROC) of the detectors and "
        "at most 1; of several judges or detectors the mean first.",
        "质量（评委总分 / 100）与拟人度（2·(1 − 检测器 AUROC)，至多 1）的调和平均；多个评委或检测器先取平均。",
    ),
    "joint_people_formula": (
        "Harmonic mean of quality, people's mean rating from 0 to 1, and human-likeness, twice the share taken for "
        "human and at most 1.",
        "质量（人们评分的平均，换算为 0 至 1）与拟人度（被当作人类的比例的两倍，至多 1）的调和平均。",
    ),
    "source_judge": ("polyalign judge", "polyalign judge"),
    "source_detect": ("polyalign detect", "polyalign detect"),
    "source_people": ("polyalign human-eval", "polyalign human-eval"),
    "source_joint": ("polyalign.evaluation.detectors.joint_score", "polyalign.evaluation.detectors.joint_score"),
    "judged_unknown_id": (
        "no answered record has the id of what was judged",
        "没有已作答的记录具有被评内容的 id",
    ),
    "judged_unanswered": (
        "the model has no answer to the prompt that was judged",
        "模型对被评的提示没有回答",
    ),
    "judged_other_answer": (
        "what was judged is not the answer that is evaluated: judge these answers",
        "被评的并非此处评测的回答：请重新评判这些回答",
    ),
    "judged_twice": (
        "the same is judged twice by one judge; the first counts",
        "同一评委对同一内容评判了两次；只计第一次",
    ),
    "unjudged": ("could not be judged: {reason}", "未能评判：{reason}"),
    "judged_nobody": (
        "{n:judgement} of {names}, whom no file is named after: the models are {models} (NAME=FILE names one)",
        "{n} 条评判属于 {names}，没有同名的模型：现有模型为 {models}（可用 名称=文件 命名）",
    ),
    "judged_humans_left": (
        "{n:judgement} of humans' answers left out ({kind}), the first at {place}: {reason}",
        "{n} 条对人类回答的评判未计入（{kind}），首例在 {place}：{reason}",
    ),
    "judged_none": ("no answer is judged by {who}", "没有回答经 {who} 评判"),
    "judged_few": (
        "{who}: no bucket has {need} judged prompts (the most: {most}), so that there is no number",
        "{who}：没有桶具备 {need} 个经评判的提示（最多 {most} 个），因此没有数值",
    ),
}
