"""What an evaluation says to people, in English and Chinese: one table, so that nothing is said in one alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polyalign._text.words import counted

__all__ = ["FORMULAS", "SOURCES", "TEXTS", "Said", "in_chinese", "joined", "part", "said"]


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


def part(name: str) -> str:
    """Return what a dimension, a composite or a question is called; one that is not ours has its own name."""
    key = f"part_{name}"
    return said(key) if key in TEXTS else name.replace("_", " ")


def joined(parts: Iterable[str], between: tuple[str, str] = ("; ", "；")) -> Said:
    """Return texts one after the other."""
    of = list(parts)
    return Said(between[0].join(of), between[1].join(in_chinese(part) for part in of))


def in_chinese(value: Any) -> Any:
    """Return the Chinese of what has one, else the value as it is."""
    return value.chinese if isinstance(value, Said) else value


TEXTS: dict[str, tuple[str, str]] = {
    "few_groups": ("not enough groups (n={n}, need {need})", "组数不足（n={n}，需要 {need}）"),
    "not_enough": ("not enough (n={n}, need {need})", "不足（n={n}，需要 {need}）"),
    "count": ("{name} ({n})", "{name}（{n}）"),
    "count_prompts": ("{many} ({n:prompt})", "{many}（{n} 个提示）"),
    "line": ("{what}: {said}", "{what}：{said}"),
    "more": ("and {n} more", "以及另外 {n} 个"),
    "warning": ("warning", "注意"),
    "not_judged": ("not judged", "未作判断"),
    "left_out": (
        "left out: {who}{n} for {kind}, the first at {place}: {reason}",
        "未计入：{who}{n} 条（{kind}），首例在 {place}：{reason}",
    ),
    "built_of_humans": ("built of the humans", "由人类样本建立"),
    "no_map": (
        "the map by {method} needs {package}: pip install {package}",
        "{method} 分布图需要 {package}：pip install {package}",
    ),
    # --- What a reader of a model's numbers should know.
    "other_settings": (
        "the settings that stand beside the file are of none of its answers, and are not shown: the file was replaced",
        "文件旁的设置不属于其中任何回答，因此不予显示：该文件已被替换",
    ),
    "several_settings": (
        "answers of several settings in one file: {names}; give each a file of its own",
        "同一文件中有多种设置的回答：{names}；请将其分别放入不同文件",
    ),
    "unlike_counts": (
        "prompts have different numbers of answers: {counts}; a prompt counts once, whatever their number",
        "各提示的回答数不同：{counts}；无论多少，每个提示只计一次",
    ),
    "unreadable": ("part of {n:file} could not be read", "{n} 个文件有部分无法读取"),
    "no_critic": ("{n:prompt} without a score of {critic}", "{n} 个提示没有 {critic} 的分数"),
    "empty_answers": ("{n} of {all} answers ({share}) are empty", "{all} 条回答中有 {n} 条（{share}）为空"),
    "cut_answers": (
        "{n} of {all} answers ({share}) end where a limit of tokens did",
        "{all} 条回答中有 {n} 条（{share}）在令牌数上限处结束",
    ),
    "unlike_prompts": (
        "the models answer different prompts: each is judged on its own, and two are compared on those that both "
        "answer ({n} for all)",
        "各模型回答的提示不同：各自按自己的提示评判，两两比较时只用两者都回答的提示（全部共有 {n} 个）",
    ),
    "no_tdm": (
        "TDM needs {package}: pip install 'polyalign[eval]'",
        "TDM 需要 {package}：pip install 'polyalign[eval]'",
    ),
    "no_numbers": (
        "no bucket has {need} answered prompts: there are no numbers",
        "没有桶具备 {need} 个已作答的提示：没有数值",
    ),
    # --- Why an answer is not compared; the engine's reasons say in English what exactly it met.
    "reason_unknown_id": ("no record has the answer's id", "没有记录具有该回答的 id"),
    "reason_duplicate_id": (
        "several records have this id, so whose the answer is can't be told",
        "多条记录具有此 id，无法判断回答属于哪一条",
    ),
    "reason_no_bucket": ("the record has no bucket", "该记录没有桶"),
    "reason_no_prompt": ("the record has no prompt", "该记录没有提示"),
    "reason_several_messages": (
        "an answer is more than one message: polyalign bucket parts conversations",
        "一条回答包含多条消息：polyalign bucket 可拆分对话",
    ),
    "reason_prompt_mismatch": (
        "the answer is to another prompt than the record's",
        "该回答所答的不是此记录的提示",
    ),
    "reason_reference_mismatch": (
        "the human answer that the line names is not the record's",
        "该行所列的人类回答不是此记录的",
    ),
    "reason_empty_human": ("the human answer is empty", "人类的回答为空"),
    "reason_ambiguous": ("{reason}", "该行可有两种读法"),
    "reason_bucket": ("{reason}", "该行没有桶"),
    "reason_file": ("{reason}", "文件的其余部分无法读取"),
    "reason_json": ("{reason}", "不是有效的 JSON，或键重复"),
    "reason_language": ("{reason}", "语言无法确定或不被允许"),
    "reason_no_response": ("{reason}", "没有回答"),
    "reason_shape": ("{reason}", "形状与其他行不同"),
    "reason_size": ("{reason}", "该行过大"),
    "reason_track": ("{reason}", "轮次类型无法识别"),
    "reason_type": ("{reason}", "字段的类型不符"),
    "reason_utf8": ("{reason}", "不是 UTF-8"),
    "critic_calibrated_formula": (
        "Mean share of humans that the critic finds closer; humans: 50%.",
        "评判器认为更接近人类的人类样本所占比例的平均；人类为 50%。",
    ),
    "critic_formula": (
        "Mean score of the critic; lower is closer to human.",
        "评判器分数的平均；越低越接近人类。",
    ),
    # --- Judges, detectors, people.
    "judge": ("judge {who}", "评委 {who}"),
    "judge_part": ("{who}: {part}", "{who}：{part}"),
    # What our rubric and our questions have; one's own stand as they are.
    "part_overall": ("overall", "总分"),
    "part_utility": ("utility", "效用"),
    "part_conditional_naturalness": ("conditional naturalness", "条件自然度"),
    "part_distribution_faithfulness": ("distribution faithfulness", "分布忠实度"),
    "part_task_success": ("task success", "任务完成"),
    "part_factual_grounding": ("factual grounding", "事实依据"),
    "part_instruction_following": ("instruction following", "遵循指示"),
    "part_reference_alignment": ("reference alignment", "与参考一致"),
    "part_conditional_appropriateness": ("conditional appropriateness", "情境得体"),
    "part_response_shape": ("response shape", "回答形式"),
    "part_discourse_naturalness": ("discourse naturalness", "语篇自然"),
    "part_safety": ("safety", "安全"),
    "part_natural": ("natural", "自然"),
    "part_fitting": ("fitting", "切合"),
    "part_helpful": ("helpful", "有用"),
    "part_right": ("right", "正确"),
    "part_length": ("length", "长度"),
    "wins": ("wins by {who}", "胜率（{who}）"),
    "wins_over": ("wins over {against} by {who}", "对 {against} 的胜率（{who}）"),
    "detector": ("AUROC {who}", "AUROC {who}"),
    "detector_cut": ("AUROC {who}, equal length", "AUROC {who}，等长"),
    "tpr": ("TPR at {rate} FPR, {who}", "TPR（FPR {rate}），{who}"),
    "tpr_cut": ("TPR at {rate} FPR, {who}, equal length", "TPR（FPR {rate}），{who}，等长"),
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
    "tpr_formula": (
        "Share of the model's answers that {who} finds more of a machine's than all but {rate} of the bucket's humans; "
        "{rate} where they can't be told apart. It needs {need} humans.",
        "{who} 认为比该桶 {rate} 以外的全部人类更像机器的模型回答所占比例；无法分辨时为 {rate}。"
        "至少需要 {need} 个人类回答。",
    ),
    "tpr_cut_formula": (
        "The same, the longer of each two cut at the words of the shorter: share of the model's answers that {who} "
        "finds more of a machine's than all but {rate} of humans. It needs {need} humans.",
        "同上，但每对中较长的按词截至较短者：{who} 认为比 {rate} 以外的全部人类更像机器的模型回答所占比例。"
        "至少需要 {need} 个人类回答。",
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

#: The metrics' formulas in Chinese; `_measures` has the English.
FORMULAS: dict[str, str] = {
    "f1": "2·共有 / （两者的词数），按多重集计；各回答的平均。中文与日文按字。",
    "rouge_l": "最长公共子序列的 F1；各回答的平均。",
    "em": "与人类回答逐词相同的回答所占的比例。",
    "mmd": "E k(y,y′) + E k(h,h′) − 2 E k(y,h)，无偏估计；k 是回答的标准化特征上的高斯核，宽度为人类彼此距离的中位数；"
    "空回答不与任何文本相似。两者相同时为 0。",
    "bng": "桶自然度差距：各特征 W1(模型, 人类) / σ 的平均；σ 取人类的或两者合并的标准差，且不小于该特征自身的步长；"
    "空回答计为最大值 2。",
    "hcr": "落在容纳 90% 留出人类的特征区域之内的回答比例（交叉共形）；空回答在区域之外。",
    "coverage": "有模型回答比其第 5 个人类近邻更近的人类所占比例：人类的多样性有多少被达到。",
    "precision": "比某个人类的第 5 个人类近邻更接近该人类的回答所占比例：所说的有多少在人类范围之内。",
    "above": "各特征中高于人类第 90 百分位的回答比例的平均；人类为 10%。",
    "below": "各特征中低于人类第 10 百分位的回答比例的平均；人类为 10%。",
    "middle": "各特征中位于人类中间一半的回答比例的平均；人类为 50%，模型停留在中间时更高。",
    "support": "按参考计算，支持距离更小的人类所占比例的平均；人类为 50%。",
    "length_w1": "词数的 Wasserstein-1 距离，除以人类的平均词数。",
    "interaction": "把回答与提问联系起来的特征上的 BNG：沿用的词、相对提问的长度、反问。"
    "若回答的是别的提示，即使很像人类，该值也高；空回答计为 2。",
    "tdm": "对话的轮次动态：长度比、与提问的 TF-IDF 相似度和潜在相似度及其互协方差的 1/(1+差距) 的平均。",
    "mauve": "量化嵌入的散度前沿下的面积，取长度相近的回答与人类回答；5 个随机种子的均值。",
    "distinct_1": "桶内回答中不同的词 / 词数，按双方都有的词数取期望。",
    "distinct_2": "桶内回答中不同的相邻词对 / 词对数，按双方都有的词对数取期望。",
    "self_bleu": "每条回答对桶内其他回答的 BLEU-4 的平均。",
    "prompt_distinct_2": "每个提示前 k 条回答的 distinct-2；各提示的平均。人类：有多条人类回答的提示。",
    "prompt_self_bleu": "每个提示前 k 条回答的 Self-BLEU；各提示的平均。",
    "prompt_embedding": "编码器给出的同一提示各回答向量的平均余弦距离；各提示的平均。需要编码器。",
    "prompt_same": "同一提示的回答两两之间逐词相同的比例。",
    "empty": "没有文字的回答所占比例。",
    "wrong_language": "所用语言与该桶不同的回答所占比例。",
    "mixed_language": "部分使用其他语言的回答所占比例。",
    "looping": "以重复结尾的回答所占比例。",
    "cut": "在令牌数上限处结束的回答所占比例。",
    "nuf": "各桶的效用（F1）与自然度（1/(1+BNG)）的帕累托前沿下的面积。",
    "aggregate": "F1、1/(1+BNG) 与 NUF 的几何平均；有 MAUVE 时也计入。",
}
#: The sources that are no names of papers.
SOURCES: dict[str, str] = {
    "arXiv:2606.13227, with a robust scale": "arXiv:2606.13227，采用稳健的尺度",
    "arXiv:2606.13227; Vovk 2015 for the calibration": "arXiv:2606.13227；校准据 Vovk 2015",
    "quantiles, ties shared": "分位数，同值均分",
    "the reference": "参考",
    "polyalign.features, group interaction": "polyalign.features，互动组",
    "count": "计数",
    "cosine distance": "余弦距离",
    "pairs": "成对比较",
    "the bucketer's detection": "分桶时的语言检测",
    "shares of scripts and words": "文字与词的占比",
    "repeated ends": "重复的结尾",
}
